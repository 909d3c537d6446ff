"""Tables of a benchmark: the leaderboard, classes, what was tuned."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearn_jax.study.report import tables
from unlearn_jax.study.report.html import Markup, joined, more, section, tag
from unlearn_jax.study.report.tables import Cell

FRESH, NOTHING = 'fresh oracles', 'do nothing'
FRAMES = (FRESH, NOTHING)  # rows that no method made
COLUMNS = (
  'gap',
  'UA',
  'MIA',
  'RA',
  'TA',
  'Acc_corr',
  'ASR',
  'IC-ERR',
  'MAE forget',
  'MAE retain',
  'MAE test',
  'W1 forget',
  'KLoM forget',
  'KLoM retain',
  'KLoM test',
  'told apart',
  'cost',
  'relearn',
  'CKA forget',
)
SIGNED = ('UA', 'MIA', 'RA', 'TA', 'Acc_corr', 'ASR', 'IC-ERR')  # in points
_HEADLINE = {
  'gap': 'the average gap',
  'KLoM forget': 'KLoM at what was forgotten',
  'told apart': 'the attacker on margins',
  'MIA': 'MIA',
}
_RANKED = ('gap', 'KLoM forget', 'activation distance', 'UA')


def framed(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Oracles first, the untouched models last, methods in order between."""
  by = ranked_by(lines)

  def order(line):
    place = {FRESH: 0, NOTHING: 2}.get(line['method'], 1)
    return place, distance(line, by)

  return sorted(lines, key=order)


def ranked_by(lines: Sequence[dict[str, Any]]) -> str:
  """The number that orders a leaderboard: the first that was measured."""
  measured = [n for line in lines for n in line['metrics']]
  return next((n for n in _RANKED if n in measured), measured[0])


def distance(line: dict[str, Any], name: str) -> float:
  """From the ideal; infinite where there is no number."""
  found = line['metrics'].get(name, {})
  if 'value' not in found:
    return math.inf
  return abs(float(found['value']) - float(found.get('ideal') or 0))


def at_floor(line: dict[str, Any]) -> tuple[int, int]:
  """How many numbers cannot be told from an oracle's, and of how many."""
  marks = [m['at floor'] for m in line['metrics'].values() if 'at floor' in m]
  return sum(marks), len(marks)


def same(line: dict[str, Any], name: str | None = None) -> bool:
  """Whether a method cannot be told from retraining, by one number or all."""
  if name is not None:
    return bool(line['metrics'].get(name, {}).get('at floor'))
  good, every = at_floor(line)
  return good == every > 0


def headline(group) -> str:
  """The sentence that comes first."""
  methods = group.methods
  count = len(methods)
  where = f'On {group.kind} sets'
  where += '' if group.alone else f' ({group.arena})'
  names = [n for n in _HEADLINE if any(n in m['metrics'] for m in methods)]
  parts = [
    f'{sum(same(m, n) for m in methods)} by {_HEADLINE[n]}' for n in names
  ]
  whole = [m['method'] for m in methods if same(m)]
  most = max((at_floor(m)[1] for m in methods), default=0)
  parts.append(f'{len(whole)} by all {most} numbers{_named(whole)}')
  parts[0] = parts[0].replace(
    ' ', f' of {count} methods cannot be told from retraining ', 1
  )
  return f'{where}, {", ".join(parts)}.'


def near(group) -> str:
  """What the leaderboard says, and whether the sets can say anything."""
  methods, by = group.methods, ranked_by(group.lines)
  texts = []
  if methods and math.isfinite(distance(methods[0], by)):
    found = methods[0]['metrics'][by]
    texts.append(
      f'Nearest to retraining by {by}: {methods[0]["method"]} '
      f'({tables.number(found["value"])}; oracles among themselves '
      f'{tables.span(*found["floor"][1:])}).'
    )
  untouched = [line for line in group.lines if line['method'] == NOTHING]
  for line in untouched:
    good, every = at_floor(line)
    if same(line, by):
      texts.append(
        f'Models that forgot nothing are at the floor too, by {good} of '
        f'{every} numbers: what these sets show is little.'
      )
    else:
      texts.append(
        f'Models that forgot nothing pass {good} of {every} numbers.'
      )
  return ' '.join(texts)


def leaderboard(group) -> Markup:
  """Best first, framed by fresh oracles and by models as they were."""
  measured = {n for line in group.lines for n in line['metrics']}
  columns = [n for n in COLUMNS if n in measured]
  rows, rank = [], 0
  for line in group.lines:
    method = line['method'] in FRAMES
    rank += not method
    good, every = at_floor(line)
    sign = '= ' if every and good == every else ''
    rows.append(
      [
        Cell(
          text=line['method'] if method else f'{rank}. {line["method"]}',
          value=rank if not method else (0 if line['method'] == FRESH else 999),
        ),
        Cell(
          text=f'{sign}{good} of {every}',
          value=good,
          class_='same' if sign else None,
        ),
        *(_cell(line['metrics'], name) for name in columns),
      ]
    )
  frames = [i for i, x in enumerate(group.lines) if x['method'] in FRAMES]
  sets = len({row['forget set'] for row in group.rows})
  return tables.table(
    f'Leaderboard, {sets} forget set{"s" if sets > 1 else ""}, ordered by '
    f'{ranked_by(group.lines)}. "=" on a tinted ground: cannot be told from '
    'retraining. A click on a head sorts.',
    ['method', 'at floor', *map(_head, columns)],
    rows,
    frames=frames,
  )


def _head(name: str) -> str:
  if name in SIGNED:
    return f'{name} (±)'
  return f'{name} ×' if name == 'cost' else name


def _cell(metrics: dict[str, Any], name: str) -> Cell:
  if 'diverged' in metrics:
    return Cell(text='diverged')
  found = metrics.get(name)
  if found is None or 'value' not in found:
    return Cell(text=tables.NONE)
  signed = name in SIGNED
  value = tables.number(found['value'], signed=signed)
  if name == 'cost':
    passes = f'{tables.number(found["gradients"])} in gradients'
    return Cell(
      text=joined(value, tag('small', passes)), value=float(found['value'])
    )
  below = tables.span(found['low'], found['high'], signed=signed)
  mark = tag('span', '= ', class_='sign') if found.get('at floor') else None
  far = abs(float(found['value']) - float(found.get('ideal') or 0))
  return Cell(
    text=joined(mark, value, tag('small', below)),
    value=far,
    class_='same' if mark else None,
  )


def per_class(group) -> Markup | None:
  """Accuracy of each class less the oracle's, where classes were forgotten."""
  found = [row for row in group.rows if 'per class' in row]
  parts = {
    row['forget set']: np.asarray(row['per class']['forgotten'], float)
    for row in found
  }
  whole = {name: part for name, part in parts.items() if part.max() == 1}
  if not whole:
    return None
  shown = []
  for name, part in whole.items():
    of_set = {r['method']: r for r in found if r['forget set'] == name}
    order = [x['method'] for x in group.lines if x['method'] in of_set]
    heads = [
      f'class {i} (forgotten)' if gone == 1 else f'class {i}'
      for i, gone in enumerate(part)
    ]
    shown.append(
      tables.table(
        f"Forget set {name}: test accuracy of each class less the oracle's, in points; "
        'more color is more',
        ['method', *heads],
        [[m, *_differences(of_set[m]['per class'])] for m in order],
        frames=[i for i, m in enumerate(order) if m in FRAMES],
      )
    )
  return section('Classes', *shown, level=3)


def _differences(found) -> list[Cell]:
  mine, theirs = (np.asarray(found[k], float) for k in ('unlearned', 'oracles'))
  cells = []
  for value in mine - theirs:
    if not math.isfinite(value):
      cells.append(Cell(text=tables.NONE))
      continue
    tone = 'red' if value < 0 else 'blue'
    part = min(abs(value) / 50, 1) ** 0.5
    cells.append(
      Cell(
        text=tables.number(value, signed=True),
        value=float(value),
        class_='tint',
        style=f'--tone:var(--{tone});--part:{part:.2f}',
      )
    )
  return cells


def settings(group) -> Markup | None:
  """What tuning has chosen, and how much it mattered."""
  rows, seen = [], set()
  for row in group.rows:
    if not row.get('trials') or row['method'] in seen:
      continue
    seen.add(row['method'])
    gaps = sorted(float(one['gap']) for one in row['trials'])
    tuned = row['tuned'] or 'as they are by default'
    rows.append(
      [
        row['method'],
        Cell(text=tables.words(tuned), class_='text wrap'),
        len(gaps),
        *(Cell(text=tables.number(g), value=g) for g in _spread(gaps)),
      ]
    )
  if not rows:
    return None
  return more(
    'Tuned settings',
    tables.table(
      'Settings that came nearest to oracles of another set of this kind, and '
      'the gap of the trials',
      ['method', 'chosen', 'trials', 'best gap', 'median gap', 'worst gap'],
      rows,
    ),
  )


def _spread(gaps: Sequence[float]) -> tuple[float, float, float]:
  return gaps[0], gaps[(len(gaps) - 1) // 2], gaps[-1]


def _named(names: Sequence[str]) -> str:
  return f' ({", ".join(names)})' if names else ''
