"""The user's own arrays: an .npz file with `x`, `y`, `id` and maybe `owner`.

Ids must be the user's and stay with the example: they name what is deleted and
decide where an example is placed. A row number is neither, as removing a row
renames all that follow. Whoever has nothing better says `ids='row'` and must
then never remove or reorder rows of the file; until then a file without `id`
is refused.
"""

import os
import pathlib
from typing import Literal

import numpy as np

from unlearn_jax import archives, errors, types
from unlearn_jax.data import _checks

_ARRAYS = ('x', 'y', 'id', 'owner')


def make(
  *,
  file: str | os.PathLike,
  task: Literal['classification', 'regression'] = 'classification',
  num_classes: int | None = None,
  mean=0.0,
  std=1.0,
  ids: Literal['key', 'row'] = 'key',
  split: str = 'all',
  test_percent: float = 0.0,
) -> types.Dataset:
  """Builds a split of `file`.

  Args:
    file: holds `x` [n, ...] numbers, `y` [n] classes or [n, k] targets, `id`
      [n] integers or strings, `owner` [n] the same, if examples have owners.
    num_classes: declared, never inferred: deleting the last example of a class
      must not change the model.
    mean: declared, number or nested list that broadcasts against an input.
    std: the same.
    ids: 'key' takes them from the array `id`, 'row' numbers the rows.
    split: 'train', 'test' or 'all'.
    test_percent: how much of the owners (or ids) a keyed hash puts to test.
  """
  errors.check_choice('value of ids', ids, ('key', 'row'))
  if (num_classes is None) == (task == 'classification'):
    raise errors.ConfigError(
      'num_classes must be given for classification, and only then: '
      f'got {num_classes} for {task}'
    )
  where = str(file)
  arrays = _read(pathlib.Path(file))
  x, y = arrays['x'], arrays['y']
  shapes = {key: list(array.shape) for key, array in arrays.items()}
  if x.ndim == 0 or len({tuple(s[:1]) for s in shapes.values()}) > 1:
    raise errors.DataError(f'{where}: shapes disagree on the rows: {shapes}')
  width = y.shape[1] if y.ndim > 1 else 1
  whole = _checks.from_arrays(
    name=pathlib.Path(file).name,
    where=where,
    x=x,
    y=y,
    ids=_ids(arrays, ids, where),
    owners=arrays.get('owner'),
    task=types.Task(task, width if num_classes is None else num_classes),
    mean=mean,
    std=std,
  )
  chosen = _checks.in_split(
    whole.owners, split=split, test_percent=test_percent
  )
  return whole.subset(np.flatnonzero(chosen))


def _read(path):
  """The arrays `x`, `y` and those of `id`, `owner` that the file has."""
  with archives.npz(path) as archive:
    present = archive.files
    arrays = {key: archive[key] for key in _ARRAYS if key in present}
  missing = [key for key in ('x', 'y') if key not in arrays]
  if missing:
    raise errors.DataError(
      f'{path} has no array {", ".join(missing)}; it has {sorted(present)}'
    )
  # A misspelt `owners` that is passed over would make everyone their own.
  unread = sorted(set(present) - set(_ARRAYS))
  if unread:
    raise errors.DataError(
      f'{path} has arrays that nothing reads: {", ".join(unread)}. Known are '
      f'{", ".join(_ARRAYS)}; remove or rename the others'
    )
  return arrays


def _ids(arrays, ids, where):
  if ids == 'row':
    if 'id' in arrays:
      raise errors.ConfigError(
        f"{where} has an array `id`, so ids='row' would throw ids away"
      )
    return np.arange(arrays['x'].shape[0])
  if 'id' not in arrays:
    raise errors.DataError(
      f'{where} has no array `id`. Ids must be yours and stay with the example '
      "when others are removed; add them, or say ids='row' if rows will "
      'never be removed or reordered.'
    )
  return arrays['id']
