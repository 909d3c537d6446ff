"""The page of serving under load: what answers while requests come."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax.study.report import rates, tables
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup
from unlearn_jax.study.report.picture import Axis, Dots, Figure, Line, Panel
from unlearn_jax.study.report.tables import Cell

_TONES = ('blue', 'orange', 'green', 'purple', 'red', 'sky', 'grey', 'ink')
_UNITS = {
  'accuracy': 'accuracy of what serves, %',
  'depth': 'slices that serve, %',
  'availability': 'time in which some shard serves, %',
}
_MOST = 0.99  # of the time: who serves as much serves practically always


def document(folder: pathlib.Path, summary: dict[str, Any]) -> Document:
  """All there is to say of a simulation, and of the real run beside it."""

  def part(found) -> tuple[str, rates.Part]:
    below = _table(found, summary['requests'])
    return _headline(found), rates.Part(over_time(found), [below])

  more, real = {}, summary['real']
  if real:
    more['For real'] = rates.Part(each_repair(real), [_real(real)])
  return rates.document(
    'Serving while requests come',
    folder,
    summary,
    part,
    more,
    requests=summary['requests'],
  )


def over_time(found: Mapping[str, Any]) -> Figure:
  """Accuracy, depth and availability of every policy at one rate."""
  lines, panels = found['lines'], []
  for name, label in _UNITS.items():
    marks: list[Line | Dots] = []
    numbers = []
    for i, row in enumerate(lines):
      x = np.asarray(row['hours'], float)
      y = 100 * np.asarray(row['curves'][name]['mean'], float)
      tone, dashed = _TONES[i % len(_TONES)], i >= len(_TONES)
      marks.append(Line(x=x, y=y, tone=tone, dashed=dashed))
      known = np.flatnonzero(np.isfinite(y))
      if len(known):
        # Each at another hour, so that lines of one height are all told.
        at = known[int((i + 0.5) / len(lines) * len(known))]
        numbers.append(
          Dots(
            x=[x[at]],
            y=[y[at]],
            inside=[str(i + 1)],
            names=[row['line']],
            tone=tone,
          )
        )
    panels.append(
      Panel(
        title=name,
        about='; '.join(
          f'{row["line"]}: {tables.number(rates.value(row, name))} %'
          for row in lines
        ),
        marks=[*marks, *numbers],
        x=Axis('hours since everything was trained'),
        y=Axis(label),
        width=400,
        height=290,
      )
    )
  return Figure(
    name=f'live_{found["rate"]:g}',
    caption=(
      f'Every policy at {found["rate"]:,g} requests a day, mean over the '
      'streams; each line bears the number of its policy. A line that ends has '
      'nothing left that serves.'
    ),
    panels=panels,
    key={
      row['line']: (_TONES[i % len(_TONES)], 'circle', str(i + 1))
      for i, row in enumerate(lines)
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
        title=f'Repairs of {batch} request{"s" * (batch != 1)} each',
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
    caption=(
      'Each dot is a repair of a small system that was really trained, deleted '
      'from and repaired. On the dashed line it took what was predicted; above '
      'it, longer.'
    ),
    panels=panels,
  )


def _headline(found) -> str:
  """The best and the cheapest of those that practically always serve."""

  def told(row, name: str) -> str:
    return f'“{row["line"]}” ({tables.number(rates.value(row, name))}'

  lines = found['lines']
  up = [row for row in lines if row['availability']['mean'] >= _MOST]
  most = f'{100 * _MOST:g} % of the time'
  if not up:
    best = max(lines, key=lambda row: row['availability']['mean'])
    return f'none serves {most}; most does {told(best, "availability")} %).'
  best = max(up, key=lambda row: rates.value(row, 'accuracy'))
  least = min(up, key=lambda row: rates.value(row, rates.COST))
  return (
    f'{len(up)} of {len(lines)} policies keep serving for {most}. The most '
    f'accurate of these is {told(best, "accuracy")} %), the cheapest '
    f'{told(least, rates.COST)} device seconds a served request).'
  )


def _table(found, requests: int) -> Markup:
  return rates.table(
    'Every policy on the same streams',
    {
      f'{i + 1}. {row["line"]}: {row["choice"]}': row
      for i, row in enumerate(found['lines'])
    },
    requests,
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
    'Predicted / measured (and how far off) on a real system; samples are '
    'expected before anybody has asked, and predicted once it is known who asks',
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
