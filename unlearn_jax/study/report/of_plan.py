"""The page of a plan: what is proposed, and what it was chosen from."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_jax.study.report import picture, rates, tables
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, items, more, tag
from unlearn_jax.study.report.picture import Axis, Dots, Figure, Line, Panel

_BEATEN = ('grey', 'ring')
_BEST = ('blue', 'circle')
_LINE = ('red', 'square')
_PROPOSED = ('green', 'diamond', '✓')
_LEAST = ('ink', 'dashed')
_KEY = {
  'proposed': _PROPOSED,
  'no choice is better in everything': _BEST,
  'another choice is': _BEATEN,
}
_AXES = {
  rates.COST: 'device seconds a served request',
  'bytes': 'MB on disk',
  'accuracy': 'accuracy of what serves, %',
  'availability': 'time in which some shard serves, %',
  'depth': 'slices that serve, %',
}
_NEAR = (0.045, 0.065)  # parts of a panel: closer numbers would hide each other


def document(folder: pathlib.Path, summary: dict[str, Any]) -> Document:
  """All there is to say of a plan."""
  level = summary['level']

  def part(found) -> tuple[str, rates.Part]:
    shown = rates.Part(_figure(found, level), _tables(found))
    return _proposed(found, level), shown

  return rates.document(
    'A plan for a system that deletes',
    folder,
    summary,
    part,
    {'Measured': rates.Part(None, [*map(_measured, summary['profiles'])])},
    level={name: f'{100 * least:g} %' for name, least in level.items()},
    groups=json.dumps(summary['groups']),
  )


def figures(summary: Mapping[str, Any]) -> list[Figure]:
  """The trade-offs at every rate."""
  return [_figure(found, summary['level']) for found in summary['rates']]


def _figure(found, level: Mapping[str, float]) -> Figure:
  rows, lines = found['choices'], found['lines']
  pairs = (
    (rates.COST, 'accuracy'),
    (rates.COST, 'availability'),
    ('bytes', 'depth'),
  )
  key = _KEY | {
    row['line']: (*_LINE, str(i + 1)) for i, row in enumerate(lines)
  }
  if any(level.values()):
    key |= {'the least that was asked for': _LEAST}
  return Figure(
    name=f'plan_{found["rate"]:g}',
    caption=(
      f'Each mark is a layout with a policy of repair: {len(rows)} to choose '
      f'from and {len(lines)} to compare with, at {found["rate"]:,g} requests '
      f'a day, over {found["requests"]:,} of them. Up is better, left is '
      'cheaper. Bars are 95 % intervals over the streams; numbers that would '
      'hide each other stand aside, on a line to their place.'
    ),
    panels=[_panel(found, x, y, 100 * level[y]) for x, y in pairs],
    key=key,
  )


def _panel(found, x: str, y: str, least: float) -> Panel:
  rows, best = found['choices'], set(found['undominated'])
  marks: list[Any] = []
  for look, some in (
    (_BEATEN, [row for i, row in enumerate(rows) if i not in best]),
    (_BEST, [rows[i] for i in sorted(best)]),
    (_LINE, found['lines']),
  ):
    marks += _dots(some, x, y, look)
  if found['proposal'] is not None:
    marks += _dots([rows[found['proposal']]], x, y, _PROPOSED)
  if least and marks:
    ends = [f(v for mark in marks for v in mark.x) for f in (min, max)]
    marks.insert(0, Line(x=ends, y=[least] * 2, tone=_LEAST[0], dashed=True))
  panel = Panel(
    title=f'{y} against {"storage" if x == "bytes" else "cost"}',
    about='; '.join(
      f'{row["line"]}: {tables.number(rates.value(row, x))}, '
      f'{tables.number(rates.value(row, y))}'
      for row in found['lines']
    ),
    marks=marks,
    x=Axis(_AXES[x], 'log'),
    y=Axis(_AXES[y]),
    width=420,
    height=300,
  )
  return _numbered(panel, found['lines'], x, y)


def _dots(some: Sequence[Mapping], x: str, y: str, look) -> list[Dots]:
  shown = [row for row in some if _known(row, x) and _known(row, y)]
  if not shown:
    return []
  tone, shape, *inside = look
  return [
    Dots(
      x=[rates.value(row, x) for row in shown],
      y=[rates.value(row, y) for row in shown],
      y_range=[rates.reach(row, y) for row in shown],
      names=[row.get('line', row['choice']) for row in shown],
      inside=inside,
      tone=tone,
      shape=shape,
    )
  ]


def _numbered(panel: Panel, lines: Sequence[Mapping], x: str, y: str) -> Panel:
  """The panel with the numbers of the lines, none on top of another."""
  ends = {along: picture.domain(panel, along) for along in 'xy'}

  def part(along: str, value: float) -> float:
    low, high = ends[along]
    scale = getattr(panel, along).scale
    return (float(picture.moved(scale, value)) - low) / (high - low)

  tone, shape = _LINE
  taken: list[tuple[float, float]] = []
  ways, numbers = [], []
  for i, row in enumerate(lines):
    if not (_known(row, x) and _known(row, y)):
      continue
    true, height = rates.value(row, x), rates.value(row, y)
    at, level = part('x', true), part('y', height)
    while any(
      abs(at - a) < _NEAR[0] and abs(level - b) < _NEAR[1] for a, b in taken
    ):
      at += _NEAR[0]
    taken.append((at, level))
    low, high = ends['x']
    place = float(picture.back(panel.x.scale, low + at * (high - low)))
    ways.append(Line(x=[true, place], y=[height] * 2, tone=tone))
    numbers.append(
      Dots(
        x=[place],
        y=[height],
        names=[row['line']],
        inside=[str(i + 1)],
        tone=tone,
        shape=shape,
      )
    )
  return dataclasses.replace(panel, marks=[*panel.marks, *ways, *numbers])


def _known(row, name: str) -> bool:
  return math.isfinite(rates.value(row, name))


def _proposed(found, level: Mapping[str, float]) -> str:
  keeps = 'keeps ' + ' and '.join(
    f'{name} of at least {100 * least:g} %'
    for name, least in level.items()
    if least
  )
  if found['proposal'] is None:
    return f'nothing that was measured {keeps}.'
  row = found['choices'][found['proposal']]
  seconds = tables.number(rates.value(row, rates.COST))
  which = (
    f'the cheapest choice that {keeps}'
    if any(level.values())
    else ('the cheapest choice')
  )
  return (
    f'{which}: {row["choice"]}, for {seconds} device seconds a served request '
    f'and {tables.number(rates.value(row, "bytes"))} MB.'
  )


def _tables(found) -> tuple[Markup, ...]:
  first, choices = {}, found['choices']
  if found['proposal'] is not None:
    row = choices[found['proposal']]
    first[f'proposed: {row["choice"]}'] = row
  first |= {
    f'{i + 1}. {row["line"]}: {row["choice"]}': row
    for i, row in enumerate(found['lines'])
  }
  frames = (0,) if found['proposal'] is not None else ()
  best = {choices[i]['choice']: choices[i] for i in found['undominated']}
  return (
    rates.table(
      'What is proposed, and what it is compared with',
      first,
      found['requests'],
      frames,
    ),
    more(
      f'{len(best)} choices that no other beats in everything',
      rates.table(
        'Each is the best one for somebody: no other is better in all of '
        'accuracy, availability, depth, cost and storage',
        best,
        found['requests'],
      ),
    ),
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
