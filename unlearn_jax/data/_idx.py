"""MNIST's idx format, gzipped: four files, 28x28 grey images, 10 classes."""

import gzip
import hashlib
import math
import os
import pathlib
import zlib
from collections.abc import Mapping

import numpy as np

from unlearn_jax import errors, types
from unlearn_jax.data import _checks, _prepared

NAMES = {
  'train': ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'),
  'test': ('t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'),
}
TEST_FROM = 60_000  # ids of the test split begin here


def load(
  folder: str | os.PathLike | None,
  *,
  name: str,
  split: str,
  mean: float,
  std: float,
  sha256: Mapping[str, str],
  verify: bool,
  others: str = '',
) -> types.Dataset:
  """Reads one split, or both for 'all'; without a folder, what TFDS prepared.

  Ids are unique over the two files: the row for the training images (0 to
  59,999), 60,000 + row for the test images.

  Args:
    sha256: file name -> digest of the official file.
    verify: False reads a user's own files of this format.
    others: more ways to have the data, for the error when there is none.
  """
  _checks.check_split(split)
  if folder is None:
    return _prepared.from_tfds(
      name,
      split=split,
      mean=mean,
      std=std,
      files='Either: name a `folder` that holds the four official .gz files.'
      + others,
    )
  folder, sha256 = pathlib.Path(folder), sha256 if verify else None
  parts = ('train', 'test') if split == 'all' else (split,)
  x, y, ids = zip(*(_part(folder, part, sha256) for part in parts), strict=True)
  return _checks.from_arrays(
    name=name,
    where=str(folder),
    x=np.concatenate(x),
    y=np.concatenate(y),
    ids=np.concatenate(ids),
    task=types.Task('classification', 10),
    mean=mean,
    std=std,
  )


def _part(folder, part, sha256):
  images, labels = (folder / name for name in NAMES[part])
  x = _read(images, ndim=3, sha256=sha256)
  y = _read(labels, ndim=1, sha256=sha256)
  if len(x) != len(y):
    raise errors.DataError(f'{images} has {len(x)} rows, {labels} {len(y)}')
  if x.shape[1:] != (28, 28):
    raise errors.DataError(f'{images}: images are 28x28, got {x.shape[1:]}')
  if part == 'train' and len(x) > TEST_FROM:
    raise errors.DataError(
      f'{images}: ids of training images end at {TEST_FROM}, got {len(x)} rows'
    )
  _checks.refuse(y > 9, 'classes are 0..9', where=str(labels))
  first = TEST_FROM if part == 'test' else 0
  return x[..., None], y, np.arange(first, first + len(x))


def _read(path, *, ndim, sha256):
  """The array of one file, [n, ...] uint8."""
  try:
    data = path.read_bytes()
  except FileNotFoundError as e:
    raise errors.DataNotFound(f'there is no file {path}') from e
  if (
    sha256 is not None and hashlib.sha256(data).hexdigest() != sha256[path.name]
  ):
    raise errors.DataError(
      f'{path} is not the official file: its SHA-256 differs. Fetch it again, '
      'or say verify=False if these are your own data.'
    )
  try:
    data = gzip.decompress(data)
  except (OSError, EOFError, zlib.error) as e:
    raise errors.DataError(f'{path} is not a whole gzip file: {e}') from e
  header = 4 * (1 + ndim)
  if len(data) < header:
    raise errors.DataError(f'{path}: {len(data)} bytes hold no idx header')
  magic, *shape = np.frombuffer(data[:header], '>u4').tolist()
  if magic != 0x800 + ndim:  # 8: unsigned bytes
    raise errors.DataError(
      f'{path}: magic number {magic:#x}, expected {0x800 + ndim:#x}'
    )
  if len(data) - header != math.prod(shape):
    raise errors.DataError(
      f'{path}: {len(data) - header} bytes after the header, which announces '
      f'{shape}: {math.prod(shape)}'
    )
  return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
