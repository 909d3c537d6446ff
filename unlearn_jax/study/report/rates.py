"""What the pages of a plan and of a live stream share: a section for each rate."""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from unlearn_jax.study.report import provenance, svg, tables
from unlearn_jax.study.report.document import Document
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
_READ = 'How to read this'
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
  """A picture, if there is one, and what stands below it."""

  figure: Figure | None
  below: Sequence[Markup]


def document(
  title: str,
  folder: pathlib.Path,
  summary: Mapping[str, Any],
  of: Callable[[Mapping[str, Any]], tuple[str, Part]],
  more: Mapping[str, Part],
  **facts,
) -> Document:
  """The page of a summary that holds what was found at some rates.

  Args:
    title: of the page.
    folder: of the run.
    summary: of the run.
    of: makes a sentence for the lead and the part of one rate.
    more: parts that come after the rates, by their titles.
    **facts: of this run, beside those that every one has.
  """
  lead, parts = [], {}
  for found in summary['rates']:
    name = f'{found["rate"]:,g} requests a day'
    sentence, parts[name] = of(found)
    lead.append(f'At {name}, {sentence}')
  parts |= more
  known = {name: summary[name] for name in ('examples', 'streams', 'seed')}
  words = (tag('p', text) for text in _WORDS)
  sections, figures = {_READ: section(_READ, *words)}, []
  for name, part in parts.items():
    shown = []
    if part.figure:
      figures.append(part.figure)
      shown.append(svg.figure(part.figure))
    sections[name] = section(name, *shown, *part.below)
  sections['How to reproduce'] = provenance.of_run(
    folder, summary, **known, **facts
  )
  return Document(title=title, lead=lead, sections=sections, figures=figures)


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
