"""The page of a study of datamodel matching: KLoM, and its pictures."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax import errors
from unlearn_jax.study import matching
from unlearn_jax.study.report import plots, provenance, svg, tables
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, joined, section, tag
from unlearn_jax.study.report.picture import Axis, Figure, Line, Panel
from unlearn_jax.study.report.tables import Cell

KIND = 'matching'
_FRAMES = (matching.FLOOR, matching.BEFORE)
_KEY = {
  'fresh oracles: the floor': ('ink', 'line'),
  'models as they were': ('red', 'dashed'),
  'method': ('blue', 'line'),
}
_POINTS = 2  # forgotten examples that are shown


def document(folder: pathlib.Path, summary: dict[str, Any]) -> Document:
  """All there is to say; pictures are of the first seed."""
  seed = summary['seeds'][0]
  if not (folder / f'seed_{seed}.json').exists():
    raise errors.WorkdirError(f'{folder} has no seed_{seed}.json')
  pictured = matching.pictured(str(folder), seed)
  sections, figures, lead = {}, [], []
  for name in dict.fromkeys(row['forget set'] for row in summary['rows']):
    rows = [row for row in summary['rows'] if row['forget set'] == name]
    curves = _curves(name, pictured['curves'][name])
    points = _points(name, pictured['points'][name])
    figures += [curves, points]
    lead.append(_headline(name, rows))
    title = f'{name} sets'.capitalize()
    sections[title] = section(
      title,
      _table(name, rows, summary),
      section('KLoM of every point', svg.figure(curves), level=3),
      section('Margins of forgotten examples', svg.figure(points), level=3),
    )
  sections['How to reproduce'] = provenance.of_run(
    folder,
    summary,
    seeds=summary['seeds'],
    models=summary['models'],
    klom=summary.get('variant'),
    factors=summary.get('factors'),
  )
  return Document(
    title='Matched by datamodels, against retrained',
    lead=lead,
    sections=sections,
    figures=figures,
  )


def _headline(name: str, rows) -> str:
  methods = [row for row in rows if row['method'] not in _FRAMES]
  near = [row for row in methods if _near(row)]
  before = [r for r in rows if r['method'] == matching.BEFORE and _near(r)]
  best = min(methods, key=lambda row: row['forget']['mean'])
  return (
    f'On {name} sets, {len(near)} of {len(methods)} methods reach the floor at '
    f'what was forgotten; nearest is {best["method"]}, with KLoM '
    f'{tables.number(best["forget"]["mean"])} (floor '
    f'{tables.number(best["forget"]["floor"])}).'
    + (' Models as they were reach it too.' if before else '')
  )


def _near(row, name: str = 'forget') -> bool:
  """Whether the lowest of the seeds is at the floor."""
  return row[name]['low'] <= row[name]['floor']


def _table(name: str, rows, summary) -> Markup:
  order = {matching.FLOOR: 0, matching.BEFORE: 2}
  rows = sorted(
    rows, key=lambda r: (order.get(r['method'], 1), r['forget']['mean'])
  )
  columns = (*matching.SPLITS, matching.GAME)
  seeds = len(summary['seeds'])
  return tables.table(
    f'KLoM at its 95th percentile over the points of a split, mean and range '
    f'of {seeds} seed{"s" if seeds > 1 else ""}; "=": some seed is within the '
    'floor of fresh oracles. Told apart: .5 is a coin.',
    ['method', *columns, 'seconds a model'],
    [
      [
        row['method'],
        *(_cell(row, column) for column in columns),
        row['seconds a model'],
      ]
      for row in rows
    ],
    frames=[i for i, row in enumerate(rows) if row['method'] in _FRAMES],
  )


def _cell(row, name: str) -> Cell:
  found = row[name]
  near = _near(row, name)
  between = tables.span(found['low'], found['high'])
  return Cell(
    text=joined(
      tag('span', '= ', class_='sign') if near else None,
      tables.number(found['mean']),
      tag('small', between) if found['low'] != found['high'] else None,
    ),
    value=found['mean'],
    class_='same' if near else None,
  )


def _curves(name: str, rows: Mapping[str, Mapping[str, Any]]) -> Figure:
  """A panel for each method and split, beside the two that frame it."""
  panels = []
  frames = {
    frame: style
    for frame, style in zip(
      _FRAMES, (('ink', False), ('red', True)), strict=True
    )
    if frame in rows
  }
  for method in rows:
    if method in _FRAMES:
      continue
    for split in matching.SPLITS:
      shown = {**frames, method: ('blue', False)}
      panels.append(
        Panel(
          title=f'{method}: {split}',
          about='KLoM of the points in order; '
          + ', '.join(f'{n}: {_at_95(rows[n][split])} at 95 %' for n in shown),
          marks=[
            Line(
              x=np.linspace(0, 100, len(rows[n][split])),
              y=rows[n][split],
              tone=tone,
              dashed=dashed,
            )
            for n, (tone, dashed) in shown.items()
          ],
          x=Axis('% of the points, in order'),
          y=Axis('KLoM', 'signed'),
          width=280,
          height=180,
        )
      )
  return Figure(
    name=f'klom_{name}',
    caption='At 95 % stands the number of the table. First seed.',
    panels=panels,
    key=_KEY,
    shown=12,
  )


def _at_95(values) -> str:
  return tables.number(float(np.percentile(np.asarray(values, float), 95)))


def _points(name: str, rows: Mapping[str, Any]) -> Figure:
  panels = [
    plots.distributions(
      f'{method}, example {point + 1}',
      {'oracles': rows['oracles'][point], 'unlearned': of[point]},
    )
    for method, of in rows.items()
    if method not in ('oracles', matching.FLOOR)
    for point in range(min(_POINTS, len(of)))
  ]
  return Figure(
    name=f'margins_{name}',
    caption='Each is one forgotten example, over all models. First seed.',
    panels=panels,
    key={'oracles': ('ink', 'line'), 'unlearned': ('blue', 'line')},
    shown=8,
  )
