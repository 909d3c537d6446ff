"""Trees on disk: complete, verified and durable, or not there at all.

The only module that knows Orbax. Orbax stores the arrays; what it leaves open
is closed here. It syncs part of its files and not the rename that finishes
them, and it reads most flipped bits back as wrong values without a word. So a
checkpoint is written under a temporary name, synced file by file and renamed,
and a sealed `checkpoint.json` beside the arrays holds a SHA-256 of every file,
checked before Orbax reads any, and the digest of the tree, checked after.

There is no barrier between processes. Each loads for itself, and of a cluster
only the lead saves: Orbax writes host arrays in process 0 and, in the others,
finishes without them and without an error.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from unlearn_jax import errors, files, trees

_FORMAT = 1
_SEAL = 'checkpoint.json'
_ARRAYS = 'arrays'
_NEW, _OLD, _GONE = '.new-checkpoint', '.old-checkpoint', '.gone-checkpoint'
_ORBAX = re.compile(r'[\\/]orbax[\\/]checkpoint[\\/]')

Path = str | os.PathLike


def save(
  path: Path, tree: Any, meta: Mapping[str, Any], *, overwrite: bool = False
) -> str:
  """Makes `path` a checkpoint of `tree`; it is durable when this returns.

  Args:
    path: the new directory. Its parent is made when missing.
    tree: a pytree of arrays and numbers. Nodes without leaves (None, empty
      dicts) come back only through `load(..., like=)`.
    meta: what JSON can hold, kept beside the tree and under the same seal.
    overwrite: replace a checkpoint at `path`. Anything else is never replaced.

  Returns:
    `trees.digest` of the tree.
  """
  path = _absolute(path)
  if jax.process_index() != 0:
    raise errors.CheckpointError(
      f'process {jax.process_index()} cannot save {path}: only the lead saves'
    )
  _check_target(path, overwrite)
  leaves = {
    name: _host(name, leaf) for name, leaf in trees.flatten(tree).items()
  }
  # As it will be read back (keys as strings), or the seal would not match.
  meta = json.loads(json.dumps(dict(meta), allow_nan=False))
  fresh = _aside(path, _NEW)
  with _naming(path, 'save'):
    files.make_folder(path.parent)
    try:
      files.disk.mkdir(fresh)
      _write_arrays(fresh, leaves)
      digest = trees.digest(leaves)
      _write_seal(fresh, leaves, digest, meta)
      files.sync_tree(fresh)
      _check_target(path, overwrite)  # another process may have been faster
      _put_in_place(fresh, path)
    except BaseException:
      with contextlib.suppress(OSError):  # Then `sweep` finds it.
        files.remove_tree(fresh)
      raise
  return digest


def load(
  path: Path, *, like: Any = None, verify: bool = True
) -> tuple[Any, dict[str, Any]]:
  """The tree, in arrays of NumPy, and the meta of a checkpoint.

  Args:
    path: what `save` made.
    like: a tree (of arrays or shapes) that gives the structure, such as an
      optimizer state of named tuples; paths, types and shapes must agree.
      Without it the tree is a nested dict.
    verify: hash the files and the tree. Only for who has just done that.
  """
  path = _absolute(path)
  with _naming(path, 'load'):
    seal = _read_seal(path)
    if verify:
      _check_files(path, seal['files'])
    leaves = _read_arrays(path, seal['leaves'])
    if verify and trees.digest(leaves) != seal['digest']:
      raise _damaged(path, 'the tree is not the one that was saved')
    tree = trees.unflatten(leaves) if like is None else _fit(path, leaves, like)
  return tree, seal['meta']


def load_meta(path: Path) -> dict[str, Any]:
  """The meta alone, its seal checked, without Orbax and the arrays."""
  path = _absolute(path)
  with _naming(path, 'load'):
    return _read_seal(path)['meta']


def seal(path: Path) -> str:
  """The digest of everything about a checkpoint, its files included."""
  path = _absolute(path)
  with _naming(path, 'load'):
    return files.digest(_read_seal(path))


def remove(path: Path) -> None:
  """Makes a checkpoint, or what is left of one, not exist; durably."""
  path = _absolute(path)
  gone = _aside(path, _GONE)
  with _naming(path, 'remove'):
    files.disk.rename(path, gone)  # at once: half of one is never found
    files.disk.sync(path.parent)
    files.remove_tree(gone)
    files.disk.sync(path.parent)


def exists(path: Path) -> bool:
  """Whether a finished checkpoint stands at `path`; `load` says if sound."""
  return (_absolute(path) / _SEAL).is_file()


def latest(folder: Path) -> pathlib.Path | None:
  """The last finished checkpoint by name, numbers in it read as numbers."""
  folder = _absolute(folder)
  if not folder.is_dir():
    return None
  found = (
    path
    for path in folder.iterdir()
    if exists(path) and path.suffix not in (_NEW, _OLD, _GONE)
  )
  return max(found, key=_natural, default=None)


def sweep(folder: Path) -> list[pathlib.Path]:
  """Cleans up after saves that were killed; returns what was removed.

  A checkpoint that was moved aside for a new one that never came goes back to
  its place. Call it only while nobody saves into `folder`.
  """
  folder = _absolute(folder)
  removed = []
  with _naming(folder, 'sweep'):
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
      if path.suffix == _OLD and not _home(path).exists():
        files.disk.rename(path, _home(path))
      elif path.suffix in (_NEW, _OLD, _GONE):
        files.remove_tree(path)
        removed.append(path)
    if folder.is_dir():
      files.disk.sync(folder)
  return removed


def _write_arrays(folder: pathlib.Path, leaves: dict[str, np.ndarray]) -> None:
  stored = {name: leaf for name, leaf in leaves.items() if leaf.size}
  if not stored:  # Orbax refuses empty trees and arrays; the seal knows them.
    files.disk.mkdir(folder / _ARRAYS)
    return
  files.disk.run('arrays', lambda: _save_arrays(folder / _ARRAYS, stored))


def _save_arrays(folder: pathlib.Path, stored: dict[str, np.ndarray]) -> None:
  ocp = _orbax()
  with _checkpointer() as checkpointer:
    try:
      checkpointer.save(folder, args=ocp.args.StandardSave(stored))
    # A full disk reaches us as whatever the writer happened to trip over.
    except Exception as error:
      raise errors.CheckpointError(
        f'Orbax cannot write {folder}: {error}'
      ) from error


def _read_arrays(
  path: pathlib.Path, described: dict[str, list]
) -> dict[str, np.ndarray]:
  leaves = {
    name: np.zeros(shape, jax.numpy.dtype(dtype))
    for name, (dtype, shape) in described.items()
  }
  stored = [name for name, leaf in leaves.items() if leaf.size]
  if stored:
    with _checkpointer() as checkpointer:
      try:
        found = checkpointer.restore(path / _ARRAYS)
      # Damage reaches us as whatever the reader happened to trip over.
      except Exception as error:
        raise errors.CheckpointError(
          f'Orbax cannot read {path}: {error}'
        ) from error
    if sorted(found) != sorted(stored):
      raise _damaged(path, 'other leaves are stored than were saved')
    leaves.update((name, np.asarray(leaf)) for name, leaf in found.items())
  if _describe(leaves) != described:
    raise _damaged(path, 'leaves have other types or shapes than were saved')
  return leaves


def _write_seal(
  folder: pathlib.Path,
  leaves: dict[str, np.ndarray],
  digest: str,
  meta: dict[str, Any],
) -> None:
  seal = {
    'format': _FORMAT,
    'digest': digest,
    'leaves': _describe(leaves),
    'files': _hash_files(folder / _ARRAYS),
    'meta': meta,
  }
  seal['seal'] = files.digest(seal)
  text = json.dumps(seal, indent=1) + '\n'
  files.disk.write(folder / _SEAL, text.encode())


def _read_seal(path: pathlib.Path) -> dict[str, Any]:
  if not path.exists():
    raise errors.CheckpointError(f'no checkpoint at {path}')
  if not exists(path):
    raise errors.CheckpointError(
      f'{path} is no checkpoint of this package: it holds no {_SEAL}'
    )
  files.check_plain(path / _SEAL)
  if (path / _ARRAYS).is_symlink():
    raise _damaged(path, f'{_ARRAYS} is a link')
  try:
    seal = json.loads((path / _SEAL).read_bytes())
    claimed = seal.pop('seal')
  except (ValueError, KeyError, AttributeError, TypeError) as error:
    raise _damaged(path, f'{_SEAL} is no seal: {error!r}') from error
  if files.digest(seal) != claimed:
    raise _damaged(path, f'{_SEAL} does not match its own seal')
  if seal['format'] != _FORMAT:
    raise errors.CheckpointError(
      f'{path} has format {seal["format"]}, this version reads {_FORMAT}'
    )
  return seal


def _check_files(path: pathlib.Path, expected: dict[str, str]) -> None:
  found = _hash_files(path / _ARRAYS)
  for name in sorted(expected.keys() | found.keys()):
    if name not in found:
      raise _damaged(path, f'{_ARRAYS}/{name} is missing')
    if name not in expected:
      raise _damaged(path, f'{_ARRAYS}/{name} was not there when it was saved')
    if found[name] != expected[name]:
      raise _damaged(path, f'{_ARRAYS}/{name} has changed')


def _check_target(path: pathlib.Path, overwrite: bool) -> None:
  if not os.path.lexists(path):
    return
  if not overwrite:
    raise errors.CheckpointError(f'{path} exists; overwrite=True replaces it')
  if not exists(path):
    raise errors.CheckpointError(
      f'{path} is no checkpoint of this package and is not replaced'
    )


def _put_in_place(fresh: pathlib.Path, path: pathlib.Path) -> None:
  """Renames `fresh` to `path`, and only then removes what stood there."""
  old = None
  if os.path.lexists(path):
    old = _aside(path, _OLD)
    files.disk.rename(path, old)
  files.disk.rename(fresh, path)
  files.disk.sync(path.parent)
  if old:
    files.remove_tree(old)


def _fit(path: pathlib.Path, leaves: dict[str, np.ndarray], like: Any) -> Any:
  flat, structure = jax.tree_util.tree_flatten_with_path(like)
  wanted = {trees.path_name(key): leaf for key, leaf in flat}
  for name in sorted(wanted.keys() | leaves.keys()):
    have = _describe({name: leaves[name]}) if name in leaves else 'no leaf'
    want = _describe({name: wanted[name]}) if name in wanted else 'no leaf'
    if have != want:
      raise errors.CheckpointError(
        f'{path} does not fit `like` at {name!r}: {have} against {want}'
      )
  return jax.tree.unflatten(structure, [leaves[name] for name in wanted])


def _host(name: str, leaf: Any) -> np.ndarray:
  if jax.dtypes.issubdtype(
    getattr(leaf, 'dtype', np.float32), jax.dtypes.prng_key
  ):
    raise TypeError(
      f'{name!r} is a random key: derive it again, or store its key_data'
    )
  leaf = np.asarray(leaf)
  if leaf.dtype.hasobject:
    raise TypeError(f'{name!r} is neither an array nor a number')
  # Of this machine's byte order: it is read back so, and its digest is of that.
  return leaf.astype(leaf.dtype.newbyteorder('='), copy=False)


def _describe(leaves: Mapping[str, Any]) -> dict[str, list]:
  return {
    name: [
      (leaf.dtype if hasattr(leaf, 'dtype') else np.asarray(leaf).dtype).name,
      list(np.shape(leaf)),
    ]
    for name, leaf in leaves.items()
  }


def _hash_files(folder: pathlib.Path) -> dict[str, str]:
  digests = {}
  for path in sorted(folder.rglob('*')):
    if path.is_dir() and not path.is_symlink():
      continue
    files.check_plain(path)
    with open(path, 'rb') as file:
      digest = hashlib.file_digest(file, 'sha256').hexdigest()
    digests[path.relative_to(folder).as_posix()] = digest
  return digests


def _aside(path: pathlib.Path, suffix: str) -> pathlib.Path:
  return path.with_name(f'.{path.name}.{secrets.token_hex(4)}{suffix}')


def _home(aside: pathlib.Path) -> pathlib.Path:
  """The path that a name of `_aside` was made for."""
  return aside.with_name(aside.name[1:].rsplit('.', 2)[0])


def _natural(path: pathlib.Path) -> list:
  parts = re.split(r'(\d+)', path.name)
  return [int(part) if part.isdigit() else part for part in parts]


def _absolute(path: Path) -> pathlib.Path:
  return pathlib.Path(os.path.abspath(path))


def _damaged(path: pathlib.Path, why: str) -> errors.CheckpointError:
  return errors.CheckpointError(f'checkpoint {path} is damaged: {why}')


def _naming(path: pathlib.Path, what: str):
  """Errors of the file system, with the path they are about."""
  return files.naming(what, path, errors.CheckpointError)


def _checkpointer():
  """Orbax without barriers: this process alone reads and writes."""
  ocp = _orbax()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=jax.process_index(),
    active_processes={jax.process_index()},
    barrier_sync_key_prefix=f'process_{jax.process_index()}',
  )
  return ocp.Checkpointer(
    ocp.StandardCheckpointHandler(multiprocessing_options=alone),
    multiprocessing_options=alone,
  )


def _orbax():
  """Orbax, imported when first needed; about thirty lines a save silenced."""
  import orbax.checkpoint as ocp

  logger = logging.getLogger('absl')
  if _not_orbax not in logger.filters:
    logger.addFilter(_not_orbax)
  return ocp


def _not_orbax(record: logging.LogRecord) -> bool:
  return record.levelno >= logging.WARNING or not _ORBAX.search(record.pathname)
