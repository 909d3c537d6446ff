"""What every binary does at its door: flags, errors, the last lines."""

import logging as python_logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from unlearn_jax import devices, errors

_SHOWN = 8  # items of a list; the JSON has them all
_silent = False  # of several processes one speaks


def run(
  main: Callable[[], None],
  required: Sequence[str] = ('workdir',),
  *,
  all_cores: bool = False,
  together: bool = False,
) -> None:
  """Parses the flags and runs `main`; what went wrong is one line, exit 1.

  With `all_cores` the stages of a system are trained on each of them. With
  `together` several processes, on one host or many, may run it as one: each is
  started with the same flags, but for its number.
  """
  if together:
    flags.DEFINE_string(
      'cluster',
      os.environ.get('UNLEARN_JAX_CLUSTER'),
      'Run as one of several processes: "auto" under a launcher that jax knows '
      '(TPU pod, Slurm, Open MPI), else "host:port,processes,number" with the '
      'address of process 0. By default what UNLEARN_JAX_CLUSTER says; else '
      'this process is alone.',
    )
  logging.set_verbosity(logging.INFO)
  # Which accelerators jax looked for and did not find is no news.
  python_logging.getLogger('jax').setLevel(python_logging.WARNING)
  devices.keep_compiled()
  if all_cores:
    devices.use_all_cores()
  app.run(
    lambda argv: _guarded(main, together),
    flags_parser=lambda argv: _parse(argv, required),
  )


def config(name: str) -> str:
  """The path of a file in configs/, from wherever the binary is called."""
  return str(pathlib.Path(__file__).parents[1] / 'configs' / name)


def show(summary: dict[str, Any], path: str) -> None:
  """Prints a summary for a person, and where the same stands as JSON."""
  if _silent:
    return
  for name, value in _flat(summary):
    print(f'{name:24}{value}')
  print(f'{"summary":24}{path}')


def table(rows: Sequence[dict[str, Any]]) -> None:
  """Prints rows with the same fields as a table."""
  texts = [[name.replace('_', ' ') for name in rows[0]]]
  texts += [[_text(value) for value in row.values()] for row in rows]
  widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
  for row in texts:
    cells = (cell.ljust(n) for cell, n in zip(row, widths, strict=True))
    print('  '.join(cells).rstrip())
  print()


def _parse(argv: list[str], required: Sequence[str]) -> list[str]:
  """Parses the flags; whatever is wrong with them is told in one line."""
  try:
    rest = flags.FLAGS(argv)
    # A config that could not be read is an error when it is first looked at.
    read = 'config' not in flags.FLAGS or hasattr(_config(), 'to_dict')
  except OSError as error:
    reason = str(error).splitlines()[-1].strip()
    sys.exit(f'DataNotFound: no config {_config_file(argv)!r}: {reason}')
  except flags.Error as error:
    lines = str(error).strip().splitlines()  # may hold a config's traceback
    sys.exit(f'{lines[-1]}\nPass --help to see the flags.')
  except AttributeError as error:
    if "no attribute 'get_config'" in str(error):
      sys.exit(f'ConfigError: {_config_file(argv)!r} has no get_config')
    # Of ConfigDict, with the near matches; line ends and quotes are escaped.
    reason = str(error).replace('\\n', ' ').replace('\\', '').strip('\'" ')
    if 'Did you mean' not in reason:
      reason += _allowed(argv)
    sys.exit(f'ConfigError: no such field in the config: {reason}')
  if len(rest) > 1:
    sys.exit(f'unexpected arguments: {" ".join(rest[1:])}')
  missing = [
    f'--{name}' for name in required if flags.FLAGS[name].value is None
  ]
  if missing:
    sys.exit(f'{" and ".join(missing)} must be given; --help explains')
  if not read:
    sys.exit(f'ConfigError: {_config_file(argv)!r} returns no ConfigDict')
  return rest


def _config() -> Any:
  return flags.FLAGS['config'].value


def _config_file(argv: list[str]) -> str:
  """What `--config` was given last, whichever way."""
  words, found = iter(argv), ''
  for word in words:
    flag, equals, value = word.partition('=')
    if flag in ('--config', '-config'):
      found = value if equals else next(words, '')
  return found


def _allowed(argv: list[str]) -> str:
  """The fields beside the first override that the config does not have."""
  files = [word for word in argv if word.startswith('--config=')]
  # Once more, without the overrides, which are taken from sys.argv.
  sys.argv = [argv[0], *files]
  flags.FLAGS(sys.argv)
  for word in argv:
    node = _config()
    flag, *path = word.partition('=')[0].split('.')
    for name in path if flag == '--config' else ():
      if not hasattr(node, 'keys'):
        break
      if name not in node:
        return f'. Allowed: {", ".join(sorted(node.keys()))}'
      node = node[name]
  return ''


def _join() -> None:
  """Becomes one of the processes that `--cluster` tells of, if it does."""
  global _silent
  told = flags.FLAGS['cluster'].value
  if not told:
    return
  if told == 'auto':
    if not devices.join_cluster():
      raise errors.ConfigError(
        '--cluster=auto: no launcher that jax knows has started this process; '
        'give host:port,processes,number'
      )
  else:
    address, *numbers = told.split(',')
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers):
      raise errors.ConfigError(
        f'--cluster is "auto" or "host:port,processes,number", got {told!r}'
      )
    devices.join_cluster(address, *map(int, numbers))
  _silent = not devices.is_lead()


def _guarded(main: Callable[[], None], together: bool) -> None:
  try:
    if together:
      _join()
    main()
  except KeyboardInterrupt:
    print('interrupted; the same command goes on', file=sys.stderr)
    sys.exit(130)  # as a shell reports SIGINT
  except (errors.UnlearnError, OSError) as error:
    logging.debug('where it happened:', exc_info=True)  # with --verbosity=1
    sys.exit(f'{type(error).__name__}: {error}')


def _flat(tree: dict[str, Any], prefix: str = ''):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name} ')
    else:
      yield f'{prefix}{name}'.replace('_', ' '), _text(value)


def _text(value: Any) -> str:
  if isinstance(value, float):
    return f'{value:.4g}'
  if isinstance(value, list | tuple):
    more = f', ... ({len(value)} in all)' if len(value) > _SHOWN else ''
    return ', '.join(map(_text, value[:_SHOWN])) + more or 'none'
  return str(value)
