"""A CSV file by columns; every complaint names line and column."""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np

from unlearn_jax import errors
from unlearn_jax.data import _checks


class Table:
  """The cells of a file, and what its columns mean once somebody says so."""

  def __init__(
    self,
    path: pathlib.Path,
    *,
    columns: Sequence[str] | None,
    delimiter: str,
    comment: str | None,
    strip: bool,
  ):
    """Reads `path`; `columns` None says that its first line names them."""
    self.where = str(path)
    rows, lines = _read(path, delimiter, comment, strip)
    if columns is None:
      if not rows:
        raise errors.DataError(f'{path} has no line that names the columns')
      columns, rows, lines = rows[0], rows[1:], lines[1:]
    self.columns = tuple(c.strip() if strip else c for c in columns)
    self.rows = np.array([f'line {line}' for line in lines], np.str_)
    repeated = {c for c in self.columns if self.columns.count(c) > 1}
    if repeated:
      raise errors.DataError(f'{path} repeats the columns {sorted(repeated)}')
    cells = np.array([len(row) for row in rows], np.int64)
    self._refuse(
      cells != len(self.columns),
      f'not {len(self.columns)} cells like the columns',
    )
    by_column = zip(*rows, strict=True) if rows else [()] * len(self.columns)
    self._cells = dict(zip(self.columns, by_column, strict=True))
    self._strip = strip

  def strings(self, column: str) -> list[str]:
    errors.check_choice(f'column of {self.where}', column, self.columns)
    cells = self._cells[column]
    return [cell.strip() for cell in cells] if self._strip else list(cells)

  def numbers(self, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Values [n] float64, 0 where the cell is empty, and which are empty."""
    cells = self.strings(column)
    absent = np.array([cell == '' for cell in cells], bool)
    try:
      values = np.array([_number(cell) for cell in cells])
    except ValueError:
      wrong = [not _is_number(cell) for cell in cells]
      self._refuse(
        np.array(wrong),
        f'column {column!r} holds {cells[wrong.index(True)]!r}, not a number',
      )
      raise
    self._refuse(
      ~(np.abs(values) <= _checks.LARGEST),
      f'column {column!r} is NaN, infinite or beyond float32',
    )
    return values, absent

  def refuse_empty(self, column: str, absent: np.ndarray) -> None:
    self._refuse(absent, f'column {column!r} is empty')

  def positions(self, column: str, words: Sequence[str]) -> np.ndarray:
    """[n] int64, where in `words` each cell stands."""
    where = {word: at for at, word in enumerate(words)}
    cells = self.strings(column)
    found = np.array([where.get(cell, -1) for cell in cells], np.int64)
    wrong = found < 0
    if wrong.any():
      cell = cells[int(np.argmax(wrong))]
      self._refuse(
        wrong,
        f'column {column!r} holds {cell!r}, which is not declared; declared: '
        f'{", ".join(map(repr, words))}',
      )
    return found

  def _refuse(self, wrong, reason):
    _checks.refuse(wrong, reason, where=self.where, rows=self.rows)


def _read(path, delimiter, comment, strip):
  """Rows that are not blank, and the line on which each ends."""
  rows, lines = [], []
  try:
    with open(path, encoding='utf-8-sig', newline='') as f:
      # A comment becomes a blank line, so that lines still count right.
      kept = (
        '\n' if comment and line.startswith(comment) else line for line in f
      )
      reader = csv.reader(
        kept, delimiter=delimiter, skipinitialspace=strip, strict=True
      )
      for row in reader:
        if row:
          rows.append(row)
          lines.append(reader.line_num)
  except FileNotFoundError as e:
    raise errors.DataNotFound(f'there is no file {path}') from e
  except (UnicodeDecodeError, csv.Error) as e:
    after = f' after line {lines[-1]}' if lines else ''
    raise errors.DataError(f'{path} cannot be read as CSV{after}: {e}') from e
  return rows, lines


def _number(cell):
  if '_' in cell:
    raise ValueError(cell)  # Python would read 1_0 as ten
  return float(cell or 0)


def _is_number(cell):
  try:
    _number(cell)
  except ValueError:
    return False
  return True
