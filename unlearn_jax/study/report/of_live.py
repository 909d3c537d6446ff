"""The page of serving under load: what answers while requests come."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax.study.report import of_plan, provenance, svg, tables
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, section
from unlearn_jax.study.report.picture import Axis, Dots, Figure, Line, Panel
from unlearn_jax.study.report.tables import Cell

_TONES = ('blue', 'sky', 'orange', 'red', 'green', 'purple', 'grey', 'ink')
_UNITS = {
  'accuracy': 'accuracy of what serves',
  'depth': 'part of the slices that serve',
  'availability': 'part of the time in which some shard serves',
}


def document(folder: pathlib.Path, summary: dict[str, Any]) -> Document:
  """All there is to say of a simulation, and of the real run beside it."""
  sections, drawn, lead = {}, [], []
  for found in summary['rates']:
    title = f'{found["rate"]:g} requests a day'
    figure = over_time(found)
    drawn.append(figure)
    lead.append(f'At {title}: {_headline(found)}')
    sections[title] = section(
      title, svg.figure(figure), _table(found, summary['requests'])
    )
  if summary['real']:
    figure = each_repair(summary['real'])
    drawn.append(figure)
    sections['For real'] = section(
      'For real', svg.figure(figure), _real(summary['real'])
    )
  sections['How to reproduce'] = provenance.of_run(
    folder,
    summary,
    examples=summary['examples'],
    streams=summary['streams'],
    requests=summary['requests'],
    seed=summary['seed'],
  )
  return Document(
    title='Serving while requests come',
    lead=lead,
    sections=sections,
    figures=drawn,
  )


def over_time(found: Mapping[str, Any]) -> Figure:
  """Accuracy, depth and availability of every policy at one rate."""
  looks = {
    row['line']: (_TONES[i % len(_TONES)], i >= len(_TONES))
    for i, row in enumerate(found['lines'])
  }
  panels = []
  for name, label in _UNITS.items():
    marks = [
      Line(
        x=row['hours'],
        y=np.asarray(row['curves'][name]['mean'], float),
        tone=looks[row['line']][0],
        dashed=looks[row['line']][1],
      )
      for row in found['lines']
    ]
    panels.append(
      Panel(
        title=name,
        about='; '.join(
          f'{row["line"]}: {tables.number(row[name]["mean"])}'
          for row in found['lines']
        ),
        marks=marks,
        x=Axis('hours since everything was trained'),
        y=Axis(label),
        width=400,
        height=290,
      )
    )
  return Figure(
    name=f'live_{found["rate"]:g}',
    caption=(
      f'{found["rate"]:g} requests a day, mean over the streams. A request '
      'takes effect when it comes, so what saw it serves no more.'
    ),
    panels=panels,
    key={
      line: (tone, 'dashed' if dashed else 'line')
      for line, (tone, dashed) in looks.items()
    },
  )


def each_repair(real: Mapping[str, Any]) -> Figure:
  """Predicted against measured CPU seconds of every real repair."""
  panels = []
  for batch in dict.fromkeys(row['batch'] for row in real['rows']):
    rows = [row for row in real['rows'] if row['batch'] == batch]
    of = [row['seconds']['cpu'] for row in rows]
    x = np.concatenate([found['predicted_each'] for found in of])
    y = np.concatenate([found['measured_each'] for found in of])
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    panels.append(
      Panel(
        title=f'{batch} request(s) a repair',
        about=f'{len(x)} repairs, {x.sum():.1f} s predicted and {y.sum():.1f} '
        's measured.',
        marks=[
          Line(x=ends, y=ends, tone='grey', dashed=True),
          Dots(x=x, y=y, tone='blue'),
        ],
        x=Axis('predicted CPU seconds'),
        y=Axis('measured CPU seconds'),
      )
    )
  return Figure(
    name='live_real',
    caption='Each dot is a real repair; on the line it took what was predicted.',
    panels=panels,
  )


def _headline(found) -> str:
  parts = [
    f'{row["line"]} serves at {tables.number(row["accuracy"]["mean"])}, '
    f'{tables.number(100 * row["availability"]["mean"])} % of the time'
    for row in found['lines']
  ]
  return '; '.join(parts) + '.'


def _table(found, requests: int) -> Markup:
  return tables.table(
    'Every policy on the same streams, with 95 % intervals',
    ['policy', *(words for _, words, _ in of_plan.COLUMNS), 'MB'],
    [
      of_plan.row_of(f'{row["line"]}: {row["choice"]}', row, requests)
      for row in found['lines']
    ],
  )


def _real(real) -> Markup:
  def pair(of) -> Cell:
    predicted, measured = float(of['predicted']), float(of['measured'])
    off = 100 * (predicted / measured - 1)
    return Cell(
      text=f'{tables.number(predicted)} / {tables.number(measured)} '
      f'({tables.number(off, signed=True)} %)',
      value=off,
    )

  return tables.table(
    'Predicted / measured on a real system; samples are expected before anybody '
    'has asked, and predicted once it is known who asks',
    [
      *('stream', 'samples', 'expected samples', 'CPU seconds', 'seconds'),
      *('accuracy before repairs', 'depths as predicted'),
    ],
    [
      [
        f'seed {row["seed"]}, {row["batch"]} a repair',
        pair(row['samples']),
        pair(row['expected_samples']),
        pair(row['seconds']['cpu']),
        pair(row['seconds']['wall']),
        pair(row['accuracy']),
        f'{row["depths_equal"]} of {row["depths"]}',
      ]
      for row in real['rows']
    ],
  )
