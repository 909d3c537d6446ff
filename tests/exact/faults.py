"""Disks that fail, and what a kill leaves at any of their calls.

All writes of a killed process stop at once. So what stands in its folder
before its n-th call is what a kill at the n-th call leaves, and one run with
copies of the folder gives the state of every kill. A state is then recovered
by a new system, while the one that was copied from is of no more interest.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from unlearn_jax import files

CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)


class Call(NamedTuple):
  """One call that changes a disk, or makes a change durable."""

  number: int  # from 1
  what: str  # a method of `files.Disk`; of `run` what is run
  path: pathlib.Path | None
  content: bytes | None  # of a write
  to: pathlib.Path | None  # of a rename


Failure = int | type[BaseException]  # a number of `errno`, or an exception
Around = Callable[[Call, Callable[[], Any]], Any]


def _watched(what):
  real = getattr(files.Disk, what)

  def watched(self, *args):
    path = None if what == 'run' else pathlib.Path(args[0])
    call = Call(
      number=len(self.calls) + 1,
      what=args[0] if what == 'run' else what,
      path=path,
      content=args[1] if what == 'write' else None,
      to=pathlib.Path(args[1]) if what == 'rename' else None,
    )
    self.calls.append(call)
    return self._around(call, lambda: real(self, *args))

  return watched


class Disk(files.Disk):
  """Counts calls, and does `around(call, act)` for each."""

  def __init__(self, around: Around = lambda call, act: act()):
    self.calls: list[Call] = []
    self._around = around

  mkdir, write, sync, rename, unlink, rmdir, hold, run = map(
    _watched,
    ('mkdir', 'write', 'sync', 'rename', 'unlink', 'rmdir', 'hold', 'run'),
  )


def hasty(call: Call, act: Callable[[], Any]) -> Any:
  """All but the syncs, which take most of the time."""
  return None if call.what == 'sync' else act()


@contextlib.contextmanager
def using(disk: files.Disk) -> Iterator[files.Disk]:
  """Everything of this process goes through `disk` meanwhile."""
  before, files.disk = files.disk, disk
  try:
    yield disk
  finally:
    files.disk = before


def failing(
  at: int, code: Failure, forever: bool, *, late: bool = False
) -> Around:
  """Fails call number `at`, or every one from there on.

  A write that fails has written half; a commit fails as SQLite does. `late`:
  a commit fails after it has happened, as when its answer is lost.
  """

  def around(call, act):
    if call.number < at or (call.number > at and not forever):
      return act()
    if not isinstance(code, int):
      raise code(str(call.path or call.what))
    text = os.strerror(code)
    if call.what in ('commit', 'checkpoint'):
      if late:
        act()
      raise sqlite3.OperationalError(f'disk I/O error: {text}')
    if call.what == 'write':
      call.path.write_bytes(call.content[: len(call.content) // 2])
    raise OSError(code, text, str(call.path or call.what))

  return around


class Kills:
  """Copies of a folder: what kills at the calls of a run would leave.

  `sync` changes nothing that a kill could take away, so before one the state
  is that of the call before it, and is not copied again.
  """

  def __init__(self, folder: pathlib.Path, into: pathlib.Path):
    self._folder, self._into = folder, into
    self.calls = 0  # at which a kill was looked at
    self.done = 0  # operations that have returned, as the run says
    self.left: list[tuple[pathlib.Path, int, str]] = []  # folder, done, when
    self._changed = True

  def around(self, call: Call, act: Callable[[], Any]) -> Any:
    self.calls += 1
    self.copy(f'before {call.what} {_short(call.path)}')
    if call.what == 'write' and self._folder in call.path.parents:
      torn = self.copy(f'in the middle of write {_short(call.path)}', True)
      half = call.content[: len(call.content) // 2]
      (torn / call.path.relative_to(self._folder)).write_bytes(half)
    result = hasty(call, act)
    self._changed = call.what != 'sync'
    if call.what in ('commit', 'checkpoint', 'arrays'):
      self.copy(f'after {call.what}')
    return result

  def copy(self, when: str, always: bool = False) -> pathlib.Path | None:
    """The folder as it is, unless it was copied as it is."""
    if not (self._changed or always):
      return None
    self._changed = False
    into = self._into / f'{len(self.left)}'
    copy(self._folder, into)
    self.left.append((into, self.done, f'{when}, after {self.done} operations'))
    return into


def copy(folder: pathlib.Path, into: pathlib.Path) -> None:
  """Another folder that holds the same; nothing when there is none."""
  if folder.exists():
    shutil.copytree(folder, into, symlinks=True)
  else:
    into.parent.mkdir(parents=True, exist_ok=True)


def unsynced(calls: list[Call], folder: pathlib.Path) -> list[str]:
  """What of a run a loss of power could still take away, now that it is over.

  A file counts as durable when it was synced after it was written, a name when
  its folder was synced after it came or went.
  """
  written, named = set(), set()
  for call in calls:
    if call.what == 'write':
      written.add(call.path)
    if call.what in ('write', 'mkdir', 'rename', 'unlink', 'rmdir'):
      named.add(call.path.parent)
    if call.what == 'sync':
      written.discard(call.path)
      named.discard(call.path)
  left = sorted(str(path) for path in written | named if path.exists())
  return [text for text in left if text.startswith(str(folder))]


def _short(path: pathlib.Path | None) -> str:
  return '' if path is None else path.name[-40:]


def write_data(path: pathlib.Path, rows: int) -> None:
  """A file of random examples, two of each owner."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(64, 4)).astype(np.float32)
  index = np.arange(rows)
  np.savez(path, x=x[:rows], y=index % 2, id=index + 1, owner=index // 2)


def config(path: pathlib.Path, **fields: Any) -> dict[str, Any]:
  """A recipe whose stages are trained in milliseconds."""
  return {
    'data': {'name': 'npz', 'file': str(path), 'num_classes': 2},
    'model': {'name': 'linear'},
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1},
    'shards': 2,
    'slices': 2,
    'batch_size': 4,
    **fields,
  }
