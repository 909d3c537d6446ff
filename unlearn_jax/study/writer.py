"""The run directory: what was run, on what, how it went, what came out.

  config.json       the configuration; a directory belongs to one of them
  run.json          arguments, versions, revision, machine, start
  status.json       running, done, failed (and why) or interrupted
  metrics.jsonl     one JSON object a row: {"step": 3, "loss": 0.41}
  <binary>.json     the summary a program leaves at its end
  unlearn_jax.lock  held while a process writes here; marks a directory as ours

A process may be killed at any time: what is rewritten is replaced in one move,
and a row cut in half is dropped when the directory is opened again. JSON has
no number for NaN and the infinities: they are the strings 'NaN', 'Infinity'
and '-Infinity', which `float` reads.
"""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unlearn_jax import devices, errors, files

_LOCK = 'unlearn_jax.lock'
_METRICS = 'metrics.jsonl'
_EVENTS = 'events.out.tfevents.*'
_PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'numpy',
  'unlearn_jax',
)


class Writer:
  """Writes one run into `workdir`; used as a context manager.

  A directory that holds the same run (binary and configuration) is continued,
  also after a kill; `resumed` says so. `rewind` then drops the rows of steps
  that will be done again. SIGTERM becomes an exception inside. Of several
  processes only the lead opens a writer, after the cluster is joined.

  Args:
    workdir: the directory, made when missing.
    binary: name of the program, and of its summary.
    config: what decides the run. JSON must be able to hold it.
    argv: the command line, this process's own by default.
    overwrite: start over whatever run of this program is there. Only files of
      the writer are removed; what else it keeps there is its own to clear.
    tensorboard: write event files too (extra `unlearn_jax[tensorboard]`).
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    *,
    binary: str = 'fit',
    config: Mapping[str, Any],
    argv: Sequence[str] | None = None,
    overwrite: bool = False,
    tensorboard: bool = False,
  ):
    self.workdir = pathlib.Path(workdir).absolute()
    self.resumed = False
    self._binary = binary
    self._config = files.to_json(config)
    self._argv = list(sys.argv if argv is None else argv)
    self._overwrite = overwrite
    self._make_events = _tensorboard() if tensorboard else None
    self._events = None
    self._status: dict[str, Any] = {}
    self._close = contextlib.ExitStack()

  def __enter__(self) -> 'Writer':
    with contextlib.ExitStack() as stack, self._naming():
      self._take(stack)
      self._start()
      self._metrics = self._open_metrics()
      stack.callback(lambda: os.close(self._metrics))
      self._open_events()
      stack.callback(self._close_events)
      stack.enter_context(_sigterm_raises())
      self._close = stack.pop_all()
    return self

  def __exit__(self, kind, error, traceback) -> None:
    try:
      with self._naming(), self._close:
        os.fsync(self._metrics)
        self._set_status(*_outcome(error))
    except errors.WorkdirError as unwritten:
      if error is None:
        raise
      error.add_note(f'and the status was not written: {unwritten}')

  def scalars(self, step: int, *groups: Mapping[str, Any]) -> None:
    """Appends one row. A name that comes twice in it is an error."""
    row = {'step': int(step)}
    for group in groups:
      twice = sorted(row.keys() & group.keys())
      if twice:
        raise ValueError(f'step {step} has {twice} twice in one row')
      row.update((name, _number(name, v)) for name, v in group.items())
    with self._naming():
      _append(self._metrics, _line(row))
    if self._events:
      for name in row.keys() - {'step'}:
        self._events.add_scalar(name, row[name], row['step'])

  def summary(self, values: Mapping[str, Any]) -> None:
    """Writes `<workdir>/<binary>.json`, whole or not at all."""
    with self._naming():
      files.write_json(self.workdir / f'{self._binary}.json', values)

  def rewind(self, step: int) -> None:
    """Drops the rows after `step`, which the run will write again."""
    kept = [row for row in read_metrics(self.workdir) if row['step'] <= step]
    with self._naming():
      files.replace(self.workdir / _METRICS, b''.join(map(_line, kept)))
      os.close(self._metrics)
      self._metrics = self._open_metrics()
      self._close_events()
      self._open_events(purge_step=step + 1)

  def _take(self, stack: contextlib.ExitStack) -> None:
    """Makes the directory ours, for as long as `stack` lives."""
    self.workdir.mkdir(parents=True, exist_ok=True)
    if any(self.workdir.iterdir()) and not (self.workdir / _LOCK).exists():
      raise errors.WorkdirError(
        f'{self.workdir} is not empty and holds no run of this package; '
        'nothing in it was touched'
      )
    lock = stack.enter_context(open(self.workdir / _LOCK, 'a+'))
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      lock.seek(0)
      raise errors.WorkdirError(
        f'{self.workdir} is in use by {lock.read() or "another process"}'
      ) from error
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {socket.gethostname()}')
    lock.flush()

  def _start(self) -> None:
    run = {
      'binary': self._binary,
      'argv': self._argv,
      'versions': _versions(),
      'git': _revision(os.path.dirname(__file__)),
      'machine': devices.fingerprint(),
      'started': _now(),
      'earlier': [],
    }
    before = self._read('run.json')
    if before and before['binary'] != self._binary:
      # Not even overwritten: it may keep things here that only it knows of.
      raise errors.WorkdirError(
        f'{self.workdir} holds a run of {before["binary"]!r}, not of '
        f'{self._binary!r}; take another directory'
      )
    if before and self._overwrite:
      self._clear()
    elif before:
      self._check_same()
      self.resumed = True
      run['earlier'] = [*before.pop('earlier'), before]
    # In this order: where there is a run.json there is a configuration.
    files.write_json(self.workdir / 'config.json', self._config)
    files.write_json(self.workdir / 'run.json', run)
    self._status = {'started': run['started']}
    self._set_status('running')

  def _check_same(self) -> None:
    found = differences(self._read('config.json'), self._config)
    if found:
      raise errors.WorkdirError(
        f'{self.workdir} holds a run with another configuration; take another '
        f'directory or overwrite it: {"; ".join(found)}'
      )

  def _clear(self) -> None:
    """Removes the files of a run; last the one that says there is a run."""
    names = (_METRICS, f'{self._binary}.json', 'status.json', 'run.json')
    events = self.workdir.glob(_EVENTS)
    for path in (*events, *(self.workdir / name for name in names)):
      path.unlink(missing_ok=True)

  def _set_status(self, state: str, reason: str | None = None) -> None:
    now = _now()
    self._status |= {'state': state, 'reason': reason, 'updated': now}
    self._status['ended'] = None if state == 'running' else now
    self._status['process'] = os.getpid()
    files.write_json(self.workdir / 'status.json', self._status)

  def _open_metrics(self) -> int:
    path = self.workdir / _METRICS
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    rows = path.read_bytes()
    whole = rows.rfind(b'\n') + 1
    if whole != len(rows):
      os.truncate(handle, whole)
    return handle

  def _open_events(self, purge_step: int | None = None) -> None:
    if self._make_events:
      # Files of one second would have one name, and the second erase the first.
      number = len(list(self.workdir.glob(_EVENTS)))
      self._events = self._make_events(
        str(self.workdir),
        purge_step=purge_step,
        filename_suffix=f'.{number}',
      )

  def _close_events(self) -> None:
    if self._events:
      self._events.close()

  def _read(self, name: str) -> dict[str, Any]:
    """A file of the run; empty when it is not there."""
    try:
      return json.loads((self.workdir / name).read_bytes())
    except FileNotFoundError:
      return {}
    except ValueError as error:
      raise errors.WorkdirError(
        f'{self.workdir / name} is damaged: {error}'
      ) from error

  @contextlib.contextmanager
  def _naming(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      raise errors.WorkdirError(
        f'cannot use {self.workdir}: {error}'
      ) from error


def read_metrics(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """The whole rows of metrics.jsonl, NaN and infinities as floats again."""
  path = pathlib.Path(workdir) / _METRICS
  rows = []
  *lines, _ = path.read_bytes().split(b'\n')  # A line without an end is cut.
  for number, line in enumerate(lines, start=1):
    try:
      row = json.loads(line)
      step = row.pop('step')
      values = {
        name: float(value) if isinstance(value, str) else value
        for name, value in row.items()
      }
    except (ValueError, KeyError, AttributeError) as error:
      raise errors.WorkdirError(
        f'{path} is damaged in line {number}: {error!r}'
      ) from error
    rows.append({'step': step, **values})
  return rows


def differences(
  there: Mapping[str, Any], asked: Mapping[str, Any]
) -> list[str]:
  """What differs between two configurations, one setting an item."""
  there, asked = _flat(there), _flat(asked)
  return [
    f'{key}: {there.get(key, "absent")!r} there, '
    f'{asked.get(key, "absent")!r} asked'
    for key in sorted(there.keys() | asked.keys())
    if (key in there, there.get(key)) != (key in asked, asked.get(key))
  ]


def _number(name: str, value: Any) -> Any:
  number = files.to_json(value)
  if isinstance(number, bool | int | float):
    return number
  if number in files.NOT_FINITE.values():
    return float(number)
  raise ValueError(f'{name!r} is no scalar: {value!r}')


def _line(row: Mapping[str, Any]) -> bytes:
  return json.dumps(files.to_json(row), allow_nan=False).encode() + b'\n'


def _append(handle: int, line: bytes) -> None:
  """A whole line or, when the disk is full, none."""
  end = os.fstat(handle).st_size
  try:
    while line:
      line = line[os.write(handle, line) :]
  except OSError:
    os.ftruncate(handle, end)
    raise


def _outcome(error: BaseException | None) -> tuple[str, str | None]:
  """(state, reason) of a run that ended with `error`."""
  if isinstance(error, KeyboardInterrupt | _Terminated):
    return 'interrupted', type(error).__name__.strip('_')
  if error is None or isinstance(error, SystemExit) and not error.code:
    return 'done', None
  return 'failed', f'{type(error).__name__}: {error}'


class _Terminated(SystemExit):
  """SIGTERM, as an exception that ends the program if nobody objects."""


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
  """Lets SIGTERM unwind the stack; leaves the program's own handler alone."""
  ours = (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  )
  if not ours:
    yield
    return

  def terminate(number, frame):
    raise _Terminated(128 + number)

  signal.signal(signal.SIGTERM, terminate)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flat(config: Any, path: str = '') -> dict[str, Any]:
  """The settings by dotted name; an empty dict is a setting."""
  if not isinstance(config, dict) or not config:
    return {path: config}
  flat = {}
  for name, value in config.items():
    flat |= _flat(value, f'{path}.{name}' if path else name)
  return flat


def _versions() -> dict[str, str | None]:
  versions = {}
  for name in _PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = None  # This package, run from a clone.
  return versions


def _revision(folder: str | os.PathLike) -> dict[str, Any] | None:
  """The commit of the clone that the package in `folder` belongs to, if any."""

  def git(*arguments):
    return subprocess.run(
      ['git', '-C', folder, *arguments],
      check=True,
      capture_output=True,
      text=True,
    ).stdout.strip()

  try:
    # Or an environment inside some other clone would answer for us.
    git('ls-files', '--error-unmatch', '__init__.py')
    return {
      'revision': git('rev-parse', 'HEAD'),
      'dirty': bool(git('status', '--porcelain')),
    }
  except (FileNotFoundError, subprocess.CalledProcessError):
    return None


def _tensorboard():
  try:
    import tensorboardX
  except ImportError as error:
    raise errors.ConfigError(
      'tensorboard=True needs tensorboardX: '
      "pip install 'unlearn_jax[tensorboard]'"
    ) from error
  return tensorboardX.SummaryWriter


def _now() -> str:
  return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
