"""What every binary does at its door: flags, errors, the last lines."""

import logging as python_logging
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from unlearn_jax import errors


def run(
  main: Callable[[], None], required: Sequence[str] = ('workdir',)
) -> None:
  """Parses the flags and runs `main`; what went wrong is one line, exit 1."""
  flags.mark_flags_as_required(required)
  logging.set_verbosity(logging.INFO)
  # Which accelerators jax looked for and did not find is no news.
  python_logging.getLogger('jax').setLevel(python_logging.WARNING)
  app.run(lambda argv: _guarded(main), flags_parser=_parse)


def config(name: str) -> str:
  """The path of a file in configs/, from wherever the binary is called."""
  return str(pathlib.Path(__file__).parents[1] / 'configs' / name)


def show(summary: dict[str, Any], path: str) -> None:
  """Prints a summary for a person, and where the same stands as JSON."""
  for name, value in _flat(summary):
    print(f'{name:24}{value}')
  print(f'{"summary":24}{path}')


def _parse(argv: list[str]) -> list[str]:
  """Parses the flags; whatever is wrong with them is told in one line."""
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    lines = str(error).strip().splitlines()  # may hold a config's traceback
    sys.exit(f'{lines[-1]}\nPass --help to see the flags.')
  except AttributeError as error:  # of ConfigDict, with the near matches
    # The message comes with its line ends and quotes escaped.
    reason = str(error).replace('\\n', ' ').replace('\\', '').strip('\'" ')
    sys.exit(f'ConfigError: no such field in the config: {reason}')
  if len(rest) > 1:
    sys.exit(f'unexpected arguments: {" ".join(rest[1:])}')
  return rest


def _guarded(main: Callable[[], None]) -> None:
  try:
    main()
  except (errors.UnlearnError, OSError) as error:
    logging.debug('where it happened:', exc_info=True)  # with --verbosity=1
    sys.exit(f'{type(error).__name__}: {error}')


def _flat(tree: dict[str, Any], prefix: str = ''):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name} ')
    else:
      shown = f'{value:.4g}' if isinstance(value, float) else value
      yield f'{prefix}{name}'.replace('_', ' '), shown
