"""Numbers in words, and tables of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from unlearn_jax.study.report.html import Markup, tag

MINUS, NONE = '−', '–'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
  """What stands in a table; `value` is what it is sorted by."""

  text: str
  value: float | str | None = None
  class_: str | None = None
  style: str | None = None


def table(
  caption: str,
  heads: Sequence[str],
  rows: Sequence[Sequence[Any]],
  *,
  frames: Sequence[int] = (),
  sortable: bool = True,
) -> Markup:
  """A table that scrolls by itself where it is too wide.

  The first cell of a row is its head; `frames` are rows of another look. Cells
  are `Cell`s, or numbers, or words.
  """
  cells = [list(map(_as_cell, row)) for row in rows]
  first = [
    tag(
      'th',
      tag('button', head) if sortable else head,
      scope='col',
      class_='text' if _is_text(cells, i) else None,
    )
    for i, head in enumerate(heads)
  ]
  body = [
    tag(
      'tr',
      *(_cell(cell, head=not i) for i, cell in enumerate(row)),
      class_='frame' if number in frames else None,
    )
    for number, row in enumerate(cells)
  ]
  return tag(
    'div',
    tag(
      'table',
      tag('caption', tag('span', caption)),
      tag('thead', tag('tr', *first)),
      tag('tbody', *body),
    ),
    class_='scroll',
    tabindex=0,
    role='region',
    aria_label=caption,
  )


def facts(caption: str, found: dict[str, Any]) -> Markup:
  """Names and what they are, one a row."""
  rows = [
    (name, Cell(text=words(value), class_='text wrap'))
    for name, value in found.items()
  ]
  return table(caption, ('what', 'value'), rows, sortable=False)


def number(value: float, *, signed: bool = False) -> str:
  """A number as people read it: three digits, and a true minus."""
  value = float(value)
  if not math.isfinite(value):
    return {math.inf: '∞', -math.inf: f'{MINUS}∞'}.get(value, NONE)
  if not value:
    return '0'
  size = abs(value)
  if size < 0.001:
    text = f'{size:.0e}'.replace('e-0', 'e-').replace('e-', f'e{MINUS}')
  else:
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    text = f'{size:,.{digits}f}'
  if value < 0:
    return f'{MINUS}{text}'
  return f'+{text}' if signed and float(text.replace(',', '')) else text


def span(low: float, high: float, *, signed: bool = False) -> str:
  """An interval, or one number."""
  if low == high:
    return number(low, signed=signed)
  return f'{number(low, signed=signed)} to {number(high, signed=signed)}'


def words(value: Any) -> str:
  """Whatever a summary holds, for a person."""
  if isinstance(value, bool):
    return 'yes' if value else 'no'
  if isinstance(value, float):
    return number(value)
  if isinstance(value, dict):
    return '; '.join(f'{k}: {words(v)}' for k, v in value.items()) or 'none'
  if isinstance(value, list | tuple):
    return ', '.join(map(words, value)) or 'none'
  return NONE if value is None else str(value)


def _as_cell(value: Any) -> Cell:
  if isinstance(value, Cell):
    return value
  if value is None:
    return Cell(text=NONE)
  if isinstance(value, int | float) and not isinstance(value, bool):
    text = number(value) if isinstance(value, float) else f'{value:,}'
    return Cell(text=text, value=value)
  return Cell(text=words(value), class_='text')


def _is_text(rows: Sequence[Sequence[Cell]], column: int) -> bool:
  return any('text' in (row[column].class_ or '') for row in rows)


def _cell(cell: Cell, *, head: bool) -> Markup:
  return tag(
    'th' if head else 'td',
    cell.text,
    scope='row' if head else None,
    class_=cell.class_,
    style=cell.style,
    data_v=cell.value,
  )
