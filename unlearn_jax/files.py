"""Files that are whole and durable, or not there; and JSON for numbers.

A rename is the only move that a crash cannot cut in half, and only what was
synced before survives a loss of power. JSON has no number for NaN and the
infinities: they become the strings 'NaN', 'Infinity' and '-Infinity', which
`float` reads back.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

Path = str | os.PathLike
# As JSON writes them where it may; `float` reads them back.
NOT_FINITE = {'nan': 'NaN', 'inf': 'Infinity', '-inf': '-Infinity'}


def make_folder(folder: pathlib.Path) -> None:
  """Like `mkdir -p`, and each new name is durable in its parent."""
  missing = [p for p in (folder, *folder.parents) if not p.exists()]
  folder.mkdir(parents=True, exist_ok=True)
  for new in missing:
    sync(new.parent)


def sync_tree(folder: pathlib.Path) -> None:
  """Makes every file and every name below `folder` durable, itself last."""
  for root, _, names in os.walk(folder, topdown=False):
    for name in names:
      sync(os.path.join(root, name))
    sync(root)


def sync(path: Path) -> None:
  """Makes a file durable, or the names in a folder."""
  handle = os.open(path, os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
  """Holds `path` against other processes; waits for its turn.

  The system lets go for a process that dies. The file stays: without it two
  could hold two files of the same name.
  """
  with open(path, 'ab') as handle:
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
    new.write_bytes(content)
    sync(new)
    os.replace(new, path)
  except OSError:
    new.unlink(missing_ok=True)
    raise
  sync(path.parent)


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
