"""The page of a plan: what is proposed, and what it was chosen from."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_jax.study.report import provenance, svg, tables
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, items, section, tag
from unlearn_jax.study.report.picture import Axis, Dots, Figure, Panel
from unlearn_jax.study.report.tables import Cell

_OTHER = ('grey', 'circle')
_BEST = ('blue', 'circle')
_LINE = ('red', 'square')
_PROPOSED = ('green', 'diamond')
_KEY = {
  'proposed': _PROPOSED,
  'nothing is better in all': _BEST,
  'something is': _OTHER,
}
COST = 'hours_a_served_request'
# Of both pages: the name in a row, what a person calls it, and its scale.
COLUMNS = (
  ('availability', 'available', 1.0),
  ('depth', 'depth', 1.0),
  ('accuracy', 'accuracy', 1.0),
  ('samples_a_request', 'samples a request', 1.0),
  ('repair_hours_a_request', 'device s a request', 3600.0),
  (COST, 'device s a served request', 3600.0),
  ('seconds_until_repaired', 's until repaired', 1.0),
  ('deletions_until_failure', 'requests until failure', 1.0),
)


def document(folder: pathlib.Path, summary: dict[str, Any]) -> Document:
  """All there is to say of a plan."""
  drawn = figures(summary)
  sections, lead = {}, []
  for found, figure in zip(summary['rates'], drawn, strict=True):
    title = f'{found["rate"]:g} requests a day'
    lead.append(f'At {title}: {_proposed(found)}')
    sections[title] = section(title, svg.figure(figure), _table(found))
  sections['Measured'] = section(
    'Measured', *map(_measured, summary['profiles'])
  )
  sections['How to reproduce'] = provenance.of_run(
    folder,
    summary,
    examples=summary['examples'],
    level=summary['level'],
    groups=json.dumps(summary['groups']),
    streams=summary['streams'],
    seed=summary['seed'],
  )
  return Document(
    title='A plan for a system that deletes',
    lead=lead,
    sections=sections,
    figures=drawn,
  )


def figures(summary: Mapping[str, Any]) -> list[Figure]:
  """The trade-offs at every rate."""
  return [_figure(found) for found in summary['rates']]


def row_of(name: str, row: Mapping[str, Any], failing: float) -> list[Any]:
  """A row of a table: the name and all `COLUMNS`, with intervals, and MB.

  `failing` is the number of requests of a stream: who lives as long shows it.
  """
  cells = [_cell(row[column], scale) for column, _, scale in COLUMNS]
  if row['survived']['mean']:
    least = tables.number(row['deletions_until_failure']['mean'])
    of_all = row['survived']['mean'] == 1
    text = f'none in {failing}' if of_all else f'at least {least}'
    cells[-1] = Cell(text=text, value=row['deletions_until_failure']['mean'])
  return [name, *cells, row['bytes'] / 1e6]


def _figure(found) -> Figure:
  rows, lines = found['choices'], found['lines']
  panels = [
    _panel(found, x, y)
    for x, y in ((COST, 'accuracy'), (COST, 'availability'), ('bytes', 'depth'))
  ]
  return Figure(
    name=f'plan_{found["rate"]:g}',
    caption=(
      f'{len(rows)} choices and {len(lines)} to compare with, at '
      f'{found["rate"]:g} requests a day, over {found["requests"]} of them; up '
      'is better, left is cheaper. Bars are 95 % intervals over the streams.'
    ),
    panels=panels,
    key=_KEY | {f'{i + 1} {row["line"]}': _LINE for i, row in enumerate(lines)},
  )


def _panel(found, x: str, y: str) -> Panel:
  rows, best = found['choices'], set(found['undominated'])
  groups: list[tuple[tuple[str, str], Sequence[Mapping], Sequence[str]]] = [
    (_OTHER, [r for i, r in enumerate(rows) if i not in best], ()),
    (_BEST, [rows[i] for i in sorted(best)], ()),
    (
      _LINE,
      found['lines'],
      [str(i + 1) for i in range(len(found['lines']))],
    ),
  ]
  if found['proposal'] is not None:
    groups.append((_PROPOSED, [rows[found['proposal']]], ()))
  marks = []
  for (tone, shape), some, inside in groups:
    at = [i for i, row in enumerate(some) if _known(row, x) and _known(row, y)]
    if at:
      marks.append(
        Dots(
          x=[_value(some[i], x) for i in at],
          y=[_value(some[i], y) for i in at],
          y_range=[(some[i][y]['low'], some[i][y]['high']) for i in at],
          names=[some[i].get('line', some[i]['choice']) for i in at],
          inside=[inside[i] for i in at] if inside else (),
          tone=tone,
          shape=shape,
        )
      )
  label = 'MB' if x == 'bytes' else 'device seconds a served request'
  return Panel(
    title=f'{y} against {"storage" if x == "bytes" else "cost"}',
    about='; '.join(
      f'{row["line"]}: {tables.number(_value(row, x))}, '
      f'{tables.number(_value(row, y))}'
      for row in found['lines']
    ),
    marks=marks,
    x=Axis(label, 'log'),
    y=Axis(y),
    width=420,
    height=300,
  )


def _known(row, name: str) -> bool:
  return math.isfinite(_value(row, name))


def _value(row, name: str) -> float:
  if name == 'bytes':
    return row['bytes'] / 1e6
  return float(row[name]['mean']) * (3600 if name == COST else 1)


def _cell(of, scale: float) -> Cell:
  mean, low, high = (scale * float(of[k]) for k in ('mean', 'low', 'high'))
  if not math.isfinite(mean):
    return Cell(text=tables.NONE)
  return Cell(
    text=tag('span', tables.number(mean), tag('small', tables.span(low, high))),
    value=mean,
  )


def _proposed(found) -> str:
  if found['proposal'] is None:
    return 'nothing that was measured keeps the level.'
  row = found['choices'][found['proposal']]
  seconds = tables.number(_value(row, COST))
  return (
    f'{row["choice"]}, for {seconds} device seconds a served request and '
    f'{tables.number(row["bytes"] / 1e6)} MB.'
  )


def _table(found) -> Markup:
  rows, most = [], found['requests']
  if found['proposal'] is not None:
    row = found['choices'][found['proposal']]
    rows.append(row_of(f'proposed: {row["choice"]}', row, most))
  rows += [
    row_of(f'{row["line"]}: {row["choice"]}', row, most)
    for row in found['lines']
  ]
  rows += [
    row_of(found['choices'][i]['choice'], found['choices'][i], most)
    for i in found['undominated']
    if i != found['proposal']
  ]
  return tables.table(
    'What each choice gives and costs, with 95 % intervals; then what no other '
    'choice beats in all',
    ['choice', *(words for _, words, _ in COLUMNS), 'MB'],
    rows,
    frames=range(1 if found['proposal'] is not None else 0),
  )


def _measured(profile) -> Markup:
  facts = {
    'layout': f'{profile["shards"]} shards x {profile["slices"]} slices',
    'examples': profile['examples'],
    'step, in ms, by depth': [1000 * s for s in profile['step_seconds']],
    'of a repair beside its steps, in s': profile['repair_seconds'],
    'stage, in kB, by depth': [b / 1000 for b in profile['stage_bytes']],
    'accuracy by depth, all shards': [
      profile['accuracy'][' '.join([str(depth + 1)] * profile['shards'])]
      for depth in range(profile['slices'])
    ],
    'how': profile.get('measured') or tables.NONE,
  }
  return tag(
    'div',
    items([f'Profile {profile["name"]}']),
    tables.facts(profile['name'], facts),
  )
