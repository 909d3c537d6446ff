"""A table of the user's own: a CSV file whose columns are declared.

Everything that shapes an input is declared and public (means, vocabularies,
which columns), never computed from the rows: deleting a row cannot move
another one, nor tell that it was there.

An input is, in this order: the numeric columns as declared; with
`missing='indicator'` one 0/1 column for each of them; each categorical column
as one 0/1 column a word.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from unlearn_jax import errors, types
from unlearn_jax.data import _checks, _table


def make(
  *,
  file: str | os.PathLike,
  label: str,
  id: str,
  task: Literal['classification', 'regression'] = 'classification',
  classes: Sequence[str] = (),
  label_scale: tuple[float, float] = (0.0, 1.0),
  numeric: Mapping[str, tuple[float, float]] | None = None,
  categorical: Mapping[str, Sequence[str]] | None = None,
  owner: str | None = None,
  columns: Sequence[str] | None = None,
  delimiter: str = ',',
  comment: str | None = None,
  missing: Literal['refuse', 'indicator'] = 'refuse',
  strip: bool = True,
  split: str = 'all',
  test_percent: float = 0.0,
) -> types.Dataset:
  """Builds a split of `file`.

  Args:
    file: UTF-8 text. Blank lines are skipped.
    label: the column to predict.
    id: the column of ids, read as strings. 'row' numbers the rows instead;
      then lines must never be removed or reordered.
    task: 'classification' or 'regression'.
    classes: the labels of a classification, in order.
    label_scale: mean and standard deviation of a regression's label.
    numeric: column -> its declared mean and standard deviation.
    categorical: column -> its words. Columns named nowhere are not read.
    owner: the column of owners, read as strings.
    columns: names of all columns of a file without header line.
    comment: lines that begin with it are skipped.
    missing: what an empty numeric cell does. 'indicator': it becomes the mean,
      0 after normalization, and 1 in the column that says so.
    strip: remove blanks around every cell.
    split: 'train', 'test' or 'all'.
    test_percent: how much of the owners (or ids) a keyed hash puts to test.
  """
  numeric, categorical = numeric or {}, categorical or {}
  task = types.Task(task, len(classes) or 1)
  _check_declared(
    task, label, classes, label_scale, numeric, categorical, missing
  )
  table = _table.Table(
    pathlib.Path(file),
    columns=columns,
    delimiter=delimiter,
    comment=comment,
    strip=strip,
  )
  x, mean, std = _inputs(table, numeric, categorical, missing)
  if task.kind == 'classification':
    y = table.positions(label, classes)
  else:
    y, absent = table.numbers(label)
    table.refuse_empty(label, absent)
    y = (y - label_scale[0]) / label_scale[1]
  whole = _checks.from_arrays(
    name=pathlib.Path(file).name,
    where=table.where,
    x=x,
    y=y,
    ids=_ids(table, id),
    owners=None if owner is None else np.array(table.strings(owner), np.str_),
    task=task,
    mean=mean,
    std=std,
    rows=table.rows,
  )
  chosen = _checks.in_split(
    whole.owners, split=split, test_percent=test_percent
  )
  return whole.subset(np.flatnonzero(chosen))


def _check_declared(
  task, label, classes, label_scale, numeric, categorical, missing
):
  if bool(classes) != (task.kind == 'classification'):
    raise errors.ConfigError(
      f'classes are declared for classification, and only then: '
      f'got {tuple(classes)} for {task.kind}'
    )
  if not label_scale[1] > 0:
    raise errors.ConfigError(
      f'the second number of label_scale must be positive, got {label_scale}'
    )
  errors.check_choice('missing', missing, ('refuse', 'indicator'))
  used = [label, *numeric, *categorical]
  twice = sorted({column for column in used if used.count(column) > 1})
  if twice:
    raise errors.ConfigError(f'columns {twice} are declared twice')
  if len(used) == 1:
    raise errors.ConfigError('numeric and categorical are empty: no inputs')
  for column, words in {label: classes, **categorical}.items():
    if len(set(words)) != len(words):
      raise errors.ConfigError(f'words of {column!r} repeat: {tuple(words)}')


def _inputs(table, numeric, categorical, missing):
  """x [n, width] float32, with the mean and std [width] to normalize by."""
  values, absences, means, stds = [], [], [], []
  for column, (mean, std) in numeric.items():
    value, absent = table.numbers(column)
    if missing == 'refuse':
      table.refuse_empty(column, absent)
    else:
      absences.append(absent)
    values.append(np.where(absent, mean, value))
    means.append(mean)
    stds.append(std)
  one_hot = [
    table.positions(column, words) == at
    for column, words in categorical.items()
    for at in range(len(words))
  ]
  flags = absences + one_hot
  x = np.stack(values + flags, axis=1).astype(np.float32)
  return x, means + [0.0] * len(flags), stds + [1.0] * len(flags)


def _ids(table, column):
  if column != 'row':
    return np.array(table.strings(column), np.str_)
  if 'row' in table.columns:
    raise errors.ConfigError(
      f"{table.where} has a column 'row', and id='row' numbers the rows: "
      'rename the column'
    )
  return np.arange(len(table.rows))
