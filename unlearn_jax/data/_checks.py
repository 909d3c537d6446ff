"""What every data set must satisfy before anything is trained on it.

A wrong label or a repeated id found here costs a message; found after
training it costs every certificate that was built on it.
"""

import numpy as np

from unlearn_jax import errors, keys, types

SPLITS = ('train', 'test', 'all')
LARGEST = np.finfo(np.float32).max  # what `Dataset.take` can hold


def from_arrays(
  *,
  x: np.ndarray,
  where: str,
  rows: np.ndarray | None = None,
  **facts,
) -> types.Dataset:
  """A data set whose inputs `x` [n, *input_shape] are in memory.

  `facts` are the other arguments of `from_reader`.
  """
  check_inputs(x, where=where, rows=rows)
  if len(x) != len(facts['ids']):
    raise errors.DataError(
      f'{where}: {len(x)} inputs but {len(facts["ids"])} ids'
    )
  return from_reader(
    read=lambda positions: x[positions],
    input_shape=x.shape[1:],
    where=where,
    rows=rows,
    **facts,
  )


def from_reader(
  *,
  name: str,
  where: str,
  read,
  input_shape: tuple[int, ...],
  y: np.ndarray,
  ids: np.ndarray,
  task: types.Task,
  mean,
  std,
  owners: np.ndarray | None = None,
  rows: np.ndarray | None = None,
) -> types.Dataset:
  """A data set whose inputs `read(positions)` fetches, checked by the caller.

  Args:
    where: the file, as it should stand in an error.
    rows: [n] str, what errors call each row; by default 'row 0', 'row 1'..
    owners: [n]; an example without one is its own owner.

  No rows at all is no error: whoever deletes everybody must still be able to
  open what is left.
  """
  ids = names(ids, 'id', where=where, rows=rows)
  owners = (
    ids if owners is None else names(owners, 'owner', where=where, rows=rows)
  )
  labels = _labels(np.asarray(y), task, where=where, rows=rows)
  for what, values in (('labels', labels), ('owners', owners)):
    if len(values) != len(ids):
      raise errors.DataError(
        f'{where}: {len(values)} {what} but {len(ids)} ids'
      )
  _refuse_repeated(ids, where=where, rows=rows)
  mean, std = _normalization(mean, std, tuple(input_shape), where=where)
  return types.Dataset(
    name=name,
    task=task,
    ids=ids,
    owners=owners,
    labels=labels,
    read=read,
    input_shape=tuple(input_shape),
    mean=mean,
    std=std,
  )


def check_inputs(
  x: np.ndarray, *, where: str, rows: np.ndarray | None = None
) -> None:
  """Refuses inputs that are not finite numbers of a float32's range."""
  if x.ndim < 2:
    raise errors.DataError(
      f'{where}: inputs need a shape [n, ...], got {list(x.shape)}'
    )
  if x.dtype.kind not in 'buif':
    raise errors.DataError(f'{where}: inputs are numbers, got {x.dtype}')
  if x.dtype.kind == 'f':
    wrong = ~(np.abs(x) <= LARGEST)  # NaN fails this comparison too
    refuse(
      wrong.any(axis=tuple(range(1, x.ndim))),
      'an input is NaN, infinite or beyond float32',
      where=where,
      rows=rows,
    )


def names(
  values: np.ndarray,
  what: str,
  *,
  where: str,
  rows: np.ndarray | None = None,
) -> np.ndarray:
  """Ids or owners as [n] int64 or str; any other type is refused."""
  values = np.asarray(values)
  if values.ndim != 1:
    raise errors.DataError(
      f'{where}: {what}s need the shape [n], got {list(values.shape)}'
    )
  if values.dtype.kind == 'U':
    refuse(values == '', f'an {what} is empty', where=where, rows=rows)
    # No hash takes these: half a character, which no UTF-8 can hold.
    halves = [any('\ud800' <= c <= '\udfff' for c in v) for v in _odd(values)]
    reason = f'an {what} holds a surrogate character'
    refuse(np.array(halves, bool), reason, where=where, rows=rows)
    return values
  if values.dtype.kind not in 'iu':
    raise errors.DataError(
      f'{where}: {what}s are integers or strings, got {values.dtype}'
    )
  refuse(
    values > np.iinfo(np.int64).max,
    f'an {what} is beyond int64',
    where=where,
    rows=rows,
  )
  return values.astype(np.int64)


def _odd(values: np.ndarray) -> list[str]:
  """The texts, when some of them are beyond ASCII; else none needs a look."""
  texts = values.tolist()
  return [] if ''.join(texts).isascii() else texts


def in_split(
  names: np.ndarray, *, split: str, test_percent: float
) -> np.ndarray:
  """[n] bool: which rows a split of the user's own file holds.

  A keyed hash of each name decides alone, so adding or removing rows moves
  nobody. `names` are the owners where there are any, else the ids: an owner
  never stands on both sides, or the test set would tell about the training.
  """
  check_split(split)
  if not 0 <= test_percent < 100:
    raise errors.ConfigError(
      f'test_percent is at least 0 and below 100, got {test_percent}'
    )
  if split == 'all':
    return np.ones(len(names), bool)
  if split == 'test' and test_percent == 0:
    raise errors.ConfigError("split='test' needs test_percent above 0")
  is_test = keys.fraction(names, 'data/test split') < test_percent / 100
  return is_test if split == 'test' else ~is_test


def check_split(split: str) -> None:
  errors.check_choice('split', split, SPLITS)


def refuse(
  wrong: np.ndarray,
  reason: str,
  *,
  where: str,
  rows: np.ndarray | None = None,
) -> None:
  """Raises, naming the first rows, if any of `wrong` [n] is true."""
  at = np.flatnonzero(wrong)
  if not at.size:
    return
  first = [f'row {i}' if rows is None else str(rows[i]) for i in at[:5]]
  more = f' and {at.size - 5} more' if at.size > 5 else ''
  raise errors.DataError(f'{where}, {", ".join(first)}{more}: {reason}')


def _labels(y, task, *, where, rows):
  if task.kind == 'classification':
    if y.ndim != 1 or y.dtype.kind not in 'biu':
      raise errors.DataError(
        f'{where}: classes are integers of shape [n], '
        f'got {y.dtype} {list(y.shape)}'
      )
    wrong = (y < 0) | (y >= task.num_outputs)
    found = f', got {y[wrong][:5].tolist()}' if wrong.any() else ''
    refuse(
      wrong,
      f'classes are 0..{task.num_outputs - 1}{found}',
      where=where,
      rows=rows,
    )
    return y.astype(np.int32)
  y = y[:, None] if y.ndim == 1 else y
  if y.ndim != 2 or y.shape[1] != task.num_outputs or y.dtype.kind not in 'iuf':
    raise errors.DataError(
      f'{where}: targets are numbers of shape [n, {task.num_outputs}], '
      f'got {y.dtype} {list(y.shape)}'
    )
  refuse(
    ~(np.abs(y) <= LARGEST).all(1),
    'a target is NaN, infinite or beyond float32',
    where=where,
    rows=rows,
  )
  return y.astype(np.float32)


def _refuse_repeated(ids, *, where, rows):
  _, group, count = np.unique(ids, return_inverse=True, return_counts=True)
  wrong = count[group] > 1
  if wrong.any():
    first = np.flatnonzero(wrong)[0]
    wrong = group == group[first]
    refuse(wrong, f'the same id {ids[first].item()!r}', where=where, rows=rows)


def _normalization(mean, std, input_shape, *, where):
  declared = {}
  for what, value in (('mean', mean), ('std', std)):
    try:
      value = np.asarray(value, np.float32)
      fits = np.broadcast_shapes(value.shape, input_shape) == input_shape
    except (TypeError, ValueError):
      fits = False
    if not fits:
      raise errors.ConfigError(
        f'{where}: {what} must be numbers that broadcast to an input of shape '
        f'{list(input_shape)}, got {value!r}'
      )
    declared[what] = value
  mean, std = declared['mean'], declared['std']
  if not (
    np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
  ):
    raise errors.ConfigError(
      f'{where}: mean must be finite and std positive, got {mean} and {std}'
    )
  return mean, std
