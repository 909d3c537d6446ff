"""Files that are whole and durable, or not there; and JSON for numbers.

A rename is the only move that a crash cannot cut in half, and only what was
synced before survives a loss of power. JSON has no number for NaN and the
infinities: they become the strings 'NaN', 'Infinity' and '-Infinity', which
`float` reads back.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import jax
import numpy as np
from absl import logging

from unlearn_jax import errors

Path = str | os.PathLike


class Disk:
  """Every call of this package that changes what is on a disk.

  One place, so that tests can let any of them fail, or lose what was not synced.
  """

  def mkdir(self, path: Path) -> None:
    os.mkdir(path)

  def write(self, path: Path, content: bytes) -> None:
    with open(path, 'wb') as file:
      file.write(content)

  def sync(self, path: Path) -> None:
    """Makes a file durable, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
      os.fsync(handle)
    finally:
      os.close(handle)

  def rename(self, old: Path, new: Path) -> None:
    os.replace(old, new)

  def unlink(self, path: Path) -> None:
    os.unlink(path)

  def rmdir(self, path: Path) -> None:
    os.rmdir(path)

  def hold(self, path: Path) -> BinaryIO:
    """Opens a file that is there to be locked, made when it is missing."""
    return open(path, 'ab')

  def run(self, what: str, act: Callable[[], Any]) -> Any:
    """A commit of Orbax or of SQLite, whose own calls are not ours."""
    del what
    return act()


disk = Disk()
# As JSON writes them where it may; `float` reads them back.
NOT_FINITE = {'nan': 'NaN', 'inf': 'Infinity', '-inf': '-Infinity'}


@contextlib.contextmanager
def naming(
  what: str, path: Path, as_error: type[Exception] = errors.WorkdirError
) -> Iterator[None]:
  """Errors of the file system, with what was to be done to which path."""
  try:
    yield
  except OSError as error:
    raise as_error(f'cannot {what} {path}: {error}') from error


def make_folder(folder: pathlib.Path) -> None:
  """Like `mkdir -p`, and each new name is durable in its parent."""
  if folder.exists() and not folder.is_dir():
    raise NotADirectoryError(errno.ENOTDIR, 'not a folder', str(folder))
  missing = [p for p in (folder, *folder.parents) if not p.exists()]
  there = missing[-1].parent if missing else folder
  # Perhaps made by a process that was killed before it could sync.
  if not os.path.ismount(there) and os.access(there.parent, os.W_OK):
    disk.sync(there.parent)
  for new in reversed(missing):
    with contextlib.suppress(FileExistsError):  # by another process, just now
      disk.mkdir(new)
    disk.sync(new.parent)


def sync_tree(folder: pathlib.Path) -> None:
  """Makes every file and every name below `folder` durable, itself last."""
  for root, _, names in os.walk(folder, topdown=False):
    for name in names:
      disk.sync(os.path.join(root, name))
    disk.sync(root)


def check_plain(path: Path) -> None:
  """Refuses a link, which leads elsewhere, and a pipe, which never ends."""
  if not stat.S_ISREG(os.lstat(path).st_mode):
    raise OSError(f'{path} is no plain file')


def remove_tree(folder: pathlib.Path) -> None:
  """Removes a folder and all below; links to others, not what they hold."""
  if os.path.islink(folder) or not os.path.isdir(folder):
    disk.unlink(folder)  # what somebody else has put there
    return
  for root, folders, names in os.walk(folder, topdown=False):
    for name in (*names, *folders):
      path = os.path.join(root, name)
      if os.path.isdir(path) and not os.path.islink(path):
        disk.rmdir(path)
      else:
        disk.unlink(path)
  disk.rmdir(folder)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
  """Holds `path` against other processes; waits for its turn.

  The system lets go for a process that dies. The file stays: without it two
  could hold two files of the same name.
  """
  with contextlib.ExitStack() as stack:
    with naming('lock', path):
      handle = stack.enter_context(disk.hold(path))
      try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        logging.info('waiting for the process that holds %s', path)
        fcntl.flock(handle, fcntl.LOCK_EX)
    yield


def replace(path: pathlib.Path, content: bytes) -> None:
  """Makes `content` what `path` holds, whole or not at all, and durable."""
  new = path.with_name(f'.{path.name}.new')
  try:
    disk.write(new, content)
    disk.sync(new)
    disk.rename(new, path)
  except OSError:
    with contextlib.suppress(OSError):  # the first error is the one to tell
      disk.unlink(new)
    raise
  disk.sync(path.parent)


def write_json(path: pathlib.Path, value: Any) -> None:
  """Replaces `path` by `value` as JSON, whole or not at all."""
  text = json.dumps(to_json(value), indent=2, allow_nan=False)
  replace(path, text.encode() + b'\n')


def digest(value: Any) -> str:
  """SHA-256 of `value` as JSON, whatever the order of its keys, in hex."""
  text = json.dumps(to_json(value), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def to_json(value: Any) -> Any:
  """`value` in what JSON holds, arrays and their scalars included."""
  if value is None or isinstance(value, bool | int | str):
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else NOT_FINITE[str(value)]
  if isinstance(value, Mapping):
    named = {str(name): to_json(child) for name, child in value.items()}
    if len(named) != len(value):
      raise ValueError(
        f'two keys have the same name: {sorted(map(str, value))}'
      )
    return named
  if isinstance(value, list | tuple):
    return [to_json(child) for child in value]
  if isinstance(value, np.ndarray | np.generic | jax.Array):
    array = np.asarray(value)
    if jax.numpy.issubdtype(array.dtype, np.floating):
      array = array.astype(np.float64)  # bfloat16 has no float of Python.
    return to_json(array.tolist())
  raise TypeError(f'JSON cannot hold {type(value).__name__} {value!r}')
