"""CIFAR-10: 50,000 + 10,000 color pictures, 32x32x3, 10 classes.

A. Krizhevsky, 2009, in the official binary layout: `data_batch_1.bin` to
`data_batch_5.bin` and `test_batch.bin`, as they are or as `.gz` or `.xz`. Taken
from the `folder` named, else from a set that TFDS prepared on this machine,
which brings its own ids and is logged.

Ids: 10,000 (b - 1) + row in training batch b, 50,000 + row in the test batch.
Pixels stay bytes, height x width x channel; the declared normalization are the
published statistics of the training images, channel by channel.
"""

import gzip
import lzma
import os
import pathlib
import zlib
from collections.abc import Sequence

import numpy as np

from unlearn_jax import errors, types
from unlearn_jax.data import _checks, _prepared

MEAN = (125.3, 123.0, 113.9)
STD = (63.0, 62.1, 66.7)
ROW = 1 + 32 * 32 * 3  # bytes: the label, then the three channel planes
ROWS = 10_000  # images in a file
BATCHES = (1, 2, 3, 4, 5)
_OPENERS = {'': open, '.gz': gzip.open, '.xz': lzma.open}


def make(
  *,
  split: str = 'train',
  folder: str | os.PathLike | None = None,
  batches: Sequence[int] = BATCHES,
  exclude: Sequence[int | str] = (),
  verify: bool = True,
) -> types.Dataset:
  """Builds a split.

  Args:
    split: 'train', 'test' or 'all'.
    folder: where the files are; nothing else is tried then.
    batches: which training files to read.
    exclude: ids to leave out, a public list such as images that are only
      approximations of the originals. It may name ids of the other split.
    verify: refuse a file that has not exactly 10,000 images.
  """
  _checks.check_split(split)
  batches = tuple(batches)
  if len(set(batches)) != len(batches) or not set(batches) <= set(BATCHES):
    raise errors.ConfigError(f'batches are distinct and 1..5, got {batches}')
  if folder is None:
    return _prepared_split(split, batches, exclude)
  x, y, ids = _read_split(pathlib.Path(folder), split, batches, verify)
  kept = ~np.isin(ids, _checked_exclude(exclude))
  return _checks.from_arrays(
    name='cifar10',
    where=str(folder),
    x=x[kept],
    y=y[kept],
    ids=ids[kept],
    task=types.Task('classification', 10),
    mean=MEAN,
    std=STD,
  )


def _prepared_split(split, batches, exclude):
  if batches != BATCHES:
    raise errors.ConfigError(
      'batches are files of `folder`; name it (a set prepared by TFDS has none)'
    )
  found = _prepared.from_tfds(
    'cifar10',
    split=split,
    mean=MEAN,
    std=STD,
    files='Either: name a `folder` that holds the official .bin files, as '
    'they are or as .gz or .xz.',
  )
  left_out = found.positions_of(np.asarray(exclude))
  return found.subset(np.delete(np.arange(len(found)), left_out))


def _checked_exclude(exclude):
  unknown = [
    i
    for i in exclude
    if not isinstance(i, int | np.integer) or not 0 <= i < 6 * ROWS
  ]
  if unknown:
    raise errors.UnknownId(
      f'ids of cifar10 are 0..{6 * ROWS - 1}, got {unknown[:5]} in exclude'
    )
  return np.asarray(exclude, np.int64)


def _read_split(folder, split, batches, verify):
  """x [n, 32, 32, 3] uint8, y [n] uint8, ids [n] int64."""
  files = []
  if split != 'test':
    files += [(f'data_batch_{b}.bin', ROWS * (b - 1)) for b in batches]
  if split != 'train':
    files += [('test_batch.bin', ROWS * 5)]
  if not files:
    raise errors.ConfigError("batches is empty, and split='train' reads them")
  x, y, ids = [], [], []
  for name, first_id in files:
    rows = _read_file(folder, name, verify)
    y.append(rows[:, 0])
    planes = rows[:, 1:].reshape(-1, 3, 32, 32)
    x.append(planes.transpose(0, 2, 3, 1))
    ids.append(np.arange(first_id, first_id + len(rows)))
  return np.concatenate(x), np.concatenate(y), np.concatenate(ids)


def _read_file(folder, name, verify):
  """The rows of one file, [n, 3073] uint8."""
  found = [(folder / (name + e), e) for e in _OPENERS]
  found = [(path, e) for path, e in found if path.is_file()]
  if not found:
    raise errors.DataNotFound(f'there is no {name}[.gz|.xz] in {folder}')
  path, ending = found[0]
  try:
    with _OPENERS[ending](path, 'rb') as f:
      data = f.read()
  except (OSError, EOFError, zlib.error, lzma.LZMAError) as e:
    raise errors.DataError(f'{path} cannot be decompressed: {e}') from e
  if len(data) % ROW:
    raise errors.DataError(
      f'{path}: {len(data)} bytes are no multiple of {ROW}, an image and label'
    )
  rows = np.frombuffer(data, np.uint8).reshape(-1, ROW)
  if len(rows) > ROWS or (verify and len(rows) != ROWS):
    raise errors.DataError(
      f'{path} has {len(rows)} images, the official file {ROWS}. Fetch it '
      'again, or say verify=False if these are fewer images of your own.'
    )
  _checks.refuse(rows[:, 0] > 9, 'classes are 0..9', where=str(path))
  return rows
