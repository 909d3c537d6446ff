"""What every binary does at its door: flags, errors, the last lines."""

import logging as python_logging
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from unlearn_jax import errors


def run(
  main: Callable[[list[str]], None], required: Sequence[str] = ()
) -> None:
  """Parses the flags and runs `main`; what went wrong is one line, exit 1."""
  flags.mark_flags_as_required(required)

  def guarded(argv):
    if len(argv) > 1:
      raise app.UsageError(f'unexpected arguments: {argv[1:]}')
    try:
      main(argv)
    except errors.UnlearnError as error:
      logging.debug('', exc_info=True)  # --verbosity=1 shows where
      sys.exit(f'{type(error).__name__}: {error}')

  logging.set_verbosity(logging.INFO)
  # Which accelerators jax looked for and did not find is no news.
  python_logging.getLogger('jax').setLevel(python_logging.WARNING)
  app.run(guarded)


def config(name: str) -> str:
  """The path of a file in configs/, from wherever the binary is called."""
  return str(pathlib.Path(__file__).parents[1] / 'configs' / name)


def show(summary: dict[str, Any], path: str) -> None:
  """Prints a summary for a person, and where the same stands as JSON."""
  for name, value in _flat(summary):
    print(f'{name:24}{value}')
  print(f'{"summary":24}{path}')


def _flat(tree: dict[str, Any], prefix: str = ''):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name} ')
    else:
      number = isinstance(value, float)
      yield (
        f'{prefix}{name}'.replace('_', ' '),
        f'{value:.4g}' if number else value,
      )
