"""What the pages of a plan and of a live stream share: a section for each rate."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from unlearn_jax.study.report import svg, tables
from unlearn_jax.study.report.html import Markup, section, tag
from unlearn_jax.study.report.picture import Figure
from unlearn_jax.study.report.tables import Cell

COST = 'hours_a_served_request'
# The name in a row, what a person calls it, and its scale.
COLUMNS = (
  ('availability', 'available, %', 100.0),
  ('depth', 'depth, %', 100.0),
  ('accuracy', 'accuracy, %', 100.0),
  ('samples_a_request', 'samples a request', 1.0),
  ('repair_hours_a_request', 'device s a request', 3600.0),
  (COST, 'device s a served request', 3600.0),
  ('seconds_until_repaired', 's until repaired', 1.0),
  ('deletions_until_failure', 'requests until failure', 1.0),
)
_SCALES = {name: scale for name, _, scale in COLUMNS}
_WORDS = (
  'A request names one example to delete. It takes effect when it comes: the '
  'stages that saw the example serve no more until they are repaired, and each '
  'shard answers with the slices that are left to it. A layout is written '
  'shards x slices x orders in which a shard learns its slices; “retraining” '
  'is one model of everything.',
  '“Available” is the part of the time in which some shard serves, “depth” the '
  'part of all slices that serve, “accuracy” that of what serves while '
  'something does. “Samples” are examples trained on again; a device second is '
  'one second of one device, and a served request pays for the first training '
  'too. Failure is when no shard serves. Small figures below a number are its '
  '95 % interval over the streams.',
)


class Part(NamedTuple):
  """What there is to say of one rate."""

  sentence: str
  figure: Figure
  below: tuple[Markup, ...]


def sections(
  summary: Mapping[str, Any], of: Callable[[Mapping[str, Any]], Part]
) -> tuple[list[str], dict[str, Markup], list[Figure]]:
  """The lead, the sections and the figures of all rates, and how to read them.

  `of` makes the part of what was found at one rate.
  """
  name = 'How to read this'
  lead, drawn = [], []
  made = {name: section(name, *(tag('p', words) for words in _WORDS))}
  for found in summary['rates']:
    title = f'{found["rate"]:,g} requests a day'
    part = of(found)
    lead.append(f'At {title}{part.sentence}')
    drawn.append(part.figure)
    made[title] = section(title, svg.figure(part.figure), *part.below)
  return lead, made, drawn


def value(row: Mapping[str, Any], name: str) -> float:
  """The mean of a column as a person reads it; of 'bytes', MB."""
  if name == 'bytes':
    return row['bytes'] / 1e6
  return float(row[name]['mean']) * _SCALES[name]


def reach(row: Mapping[str, Any], name: str) -> tuple[float, float]:
  """The interval of `value`."""
  low, high = (_SCALES[name] * float(row[name][k]) for k in ('low', 'high'))
  return low, high


def table(
  caption: str,
  named: Mapping[str, Mapping[str, Any]],
  requests: int,
  frames: tuple[int, ...] = (),
) -> Markup:
  """Rows by their names, with all `COLUMNS`; `requests` are those of a stream."""
  return tables.table(
    caption,
    ['choice', *(words for _, words, _ in COLUMNS), 'MB'],
    [_row(name, row, requests) for name, row in named.items()],
    frames=frames,
  )


def _row(name: str, row: Mapping[str, Any], requests: int) -> list[Any]:
  cells = [_cell(row, column) for column, _, _ in COLUMNS]
  if row['survived']['mean']:  # who lives as long as a stream tells no more
    least = tables.number(row['deletions_until_failure']['mean'])
    of_all = row['survived']['mean'] == 1
    text = f'none in {requests:,}' if of_all else f'at least {least}'
    cells[-1] = Cell(text=text, value=row['deletions_until_failure']['mean'])
  return [name, *cells, value(row, 'bytes')]


def _cell(row: Mapping[str, Any], name: str) -> Cell:
  mean = value(row, name)
  if not math.isfinite(mean):
    return Cell(text=tables.NONE)
  low, high = reach(row, name)
  return Cell(
    text=tag('span', tables.number(mean), tag('small', tables.span(low, high))),
    value=mean,
  )
