"""Pictures of a benchmark."""

import math
from typing import Any

import numpy as np

from unlearn_jax.study.report import boards, picture, tables
from unlearn_jax.study.report.boards import FRAMES, FRESH, NOTHING
from unlearn_jax.study.report.html import Markup, tag
from unlearn_jax.study.report.picture import (
  Axis,
  Band,
  Dots,
  Figure,
  Line,
  Panel,
)

_FORGETTING = ('KLoM forget', 'gap', 'UA')
_UTILITY = ('TA', 'KLoM test', 'RA')
_FIRST = ('gap', 'KLoM forget', 'told apart', 'MIA', 'UA', 'TA')
_SAME = ('blue', 'circle')
_TOLD = ('red', 'square')
_FRAME = ('ink', 'diamond')
_KEY = {
  'cannot be told from retraining': _SAME,
  'can be told': _TOLD,
  'not a method': _FRAME,
  'floor: oracles among themselves': ('grey', 'band'),
}
_WAYS = {
  'oracles': ('ink', 'line'),
  'unlearned': ('blue', 'line'),
  'models as they were': ('red', 'dashed'),
}
_BINS, _POINTS = 24, 2  # of histograms; forgotten examples that are shown
_SHOWN = 5  # methods whose small pictures are seen at once


def trade_off(group) -> Figure | None:
  """Forgetting against utility, and against cost."""
  of = _first(group, _FORGETTING)
  # The gap too: systems of many models have no margins.
  pairs = [(_first(group, _UTILITY), of), ('cost', of), ('cost', 'gap')]
  panels = [
    _scatter(group, x, y)
    for x, y in dict.fromkeys(pairs)
    if x != y and any(_has(m, x) and _has(m, y) for m in group.methods)
  ]
  if not panels:
    return None
  return Figure(
    name=f'trade_off_{group.name}',
    caption=(
      'Down is better forgetting; the numbers are places on the leaderboard, O '
      'fresh oracles, N models that forgot nothing. Bars are 95 % intervals.'
    ),
    panels=panels,
    key=_KEY,
  )


def numbers(group) -> Markup:
  """Which number is which method."""
  return tag(
    'ol', *(tag('li', m['method']) for m in group.methods), class_='numbered'
  )


def by_metric(group) -> tuple[Figure | None, Figure | None]:
  """A panel for each number: the usual ones, and the others."""
  names = dict.fromkeys(
    n for line in group.lines for n in line['metrics'] if _has(line, n)
  )
  first = [n for n in _FIRST if n in names]
  others = [n for n in names if n not in first]
  return (
    _dotted(group, first, f'numbers_{group.name}'),
    _dotted(group, others, f'more_{group.name}'),
  )


def relearning(group) -> Figure | None:
  """Loss at what was forgotten while it is learned again."""
  found = _kept(group, 'relearn', 'curves')
  if not found:
    return None
  panels = []
  for method, curves in found.items():
    mean = {
      name: np.mean([np.asarray(c[name], float) for c in curves], axis=0)
      for name in ('oracles', 'original', 'unlearned')
    }
    steps = np.arange(len(mean['oracles']))
    panels.append(
      Panel(
        title=method,
        about='Loss at the forgotten examples by steps of relearning.',
        marks=[
          Line(x=steps, y=mean['oracles'], tone='ink'),
          Line(x=steps, y=mean['original'], tone='red', dashed=True),
          Line(x=steps, y=mean['unlearned'], tone='blue'),
        ],
        x=Axis('steps'),
        y=Axis('loss'),
        width=250,
        height=170,
      )
    )
  return Figure(
    name=f'relearn_{group.name}',
    caption=(
      'Mean over models, orders and forget sets. Where the line of a method '
      'falls below that of the oracles it learns again what it had kept.'
    ),
    panels=panels,
    key=_WAYS,
    shown=_SHOWN,
  )


def margins(group) -> Figure | None:
  """Margins of some forgotten examples over the models, against oracles."""
  found = _kept(group, 'KLoM forget', 'margins')
  if not found:
    return None
  panels = []
  for method, sets in found.items():
    for point in range(min(_POINTS, len(sets[0]['oracles']))):
      panels.append(
        distributions(
          f'{method}, example {point + 1}',
          {
            'oracles': sets[0]['oracles'][point],
            'unlearned': sets[0]['unlearned'][point],
          },
        )
      )
  return Figure(
    name=f'margins_{group.name}',
    caption=(
      'Each is one forgotten example of the first forget set, over all models; '
      'what was forgotten well lies where the oracles lie.'
    ),
    panels=panels,
    key={n: _WAYS[n] for n in ('oracles', 'unlearned')},
    shown=_POINTS * _SHOWN,
  )


def distributions(title: str, found: dict[str, Any]) -> Panel:
  """Histograms of margins, those of the oracles filled."""
  values = {n: np.asarray(v, float) for n, v in found.items()}
  every = np.concatenate(list(values.values()))
  every = every[np.isfinite(every)]
  edges = np.linspace(every.min(), every.max() + 1e-9, _BINS)
  marks = []
  for name, of in values.items():
    counts, _ = np.histogram(of, edges)
    marks.append(
      Line(
        x=np.repeat(edges, 2),
        y=[0, *np.repeat(counts, 2), 0],
        tone=_WAYS.get(name, ('red',))[0],
        filled=name == 'oracles',
      )
    )
  about = ', '.join(
    f'{n}: median {np.median(v):.2f}' for n, v in values.items()
  )
  return Panel(
    title=title,
    about=f'Margins over models; {about}.',
    marks=marks,
    x=Axis('margin'),
    y=Axis('models'),
    width=250,
    height=160,
  )


def _kept(group, metric: str, name: str) -> dict[str, list]:
  """{method: what its rows of a metric keep}, in the order of the board."""
  found: dict[str, list] = {}
  for row in group.rows:
    if row['metric'] == metric and name in row:
      found.setdefault(row['method'], []).append(row[name])
  order = [line['method'] for line in group.lines]
  # The untouched models first: what there was to forget.
  order.sort(key=lambda method: method != NOTHING)
  return {m: found[m] for m in order if m in found and m != FRESH}


def _scatter(group, x: str, y: str) -> Panel:
  shown = [line for line in group.lines if _has(line, x) and _has(line, y)]
  marks = [
    Band(*_floor(group, n), along)
    for along, n in (('x', x), ('y', y))
    if _floor(group, n)
  ]
  places = {m['method']: str(i + 1) for i, m in enumerate(group.methods)}
  places |= {FRESH: 'O', NOTHING: 'N'}
  for look in (_TOLD, _SAME, _FRAME):
    some = [line for line in shown if _look(line, y) == look]
    if some:
      marks.append(_marks(some, look, x=x, y=y, places=places))
  scale = {
    n: picture.scale_for([_value(line, n) for line in shown]) for n in (x, y)
  }
  x_label = 'cost in seconds; retraining is 1' if x == 'cost' else _axis(x)
  return Panel(
    title=f'{y} against {x}',
    about=', '.join(
      f'{line["method"]}: {tables.number(_value(line, x))}, '
      f'{tables.number(_value(line, y))}'
      for line in shown
    ),
    marks=marks,
    x=Axis(x_label, 'log' if x == 'cost' else scale[x]),
    y=Axis(_axis(y), scale[y]),
    width=420,
    height=320,
  )


def _marks(some, look, *, x: str, y: str, places) -> Dots:
  tone, shape = look
  return Dots(
    x=[_value(line, x) for line in some],
    y=[_value(line, y) for line in some],
    x_range=[_range(line, x) for line in some],
    y_range=[_range(line, y) for line in some],
    names=[line['method'] for line in some],
    inside=[places[line['method']] for line in some],
    tone=tone,
    shape=shape,
  )


def _dotted(group, names, file: str) -> Figure | None:
  if not names:
    return None
  return Figure(
    name=file,
    caption='Values with 95 % intervals; the grey band is the floor.',
    panels=[_list(group, name) for name in names],
    key=_KEY,
  )


def _list(group, name: str) -> Panel:
  """One number of all methods, below each other."""
  shown = [line for line in group.lines if _has(line, name)]
  rows = range(len(shown))
  floor = _floor(group, name)
  marks: list[Any] = [Band(*floor, 'x')] if floor else []
  for look in (_TOLD, _SAME, _FRAME):
    at = [i for i in rows if _look(shown[i], name) == look]
    if at:
      marks.append(
        Dots(
          x=[_value(shown[i], name) for i in at],
          y=at,
          x_range=[_range(shown[i], name) for i in at],
          names=[_words(shown[i], name) for i in at],
          tone=look[0],
          shape=look[1],
        )
      )
  return Panel(
    title=name,
    about='; '.join(_words(line, name) for line in shown),
    marks=marks,
    x=Axis(
      'points from the oracle' if name in boards.SIGNED else '',
      picture.scale_for([_value(line, name) for line in shown]),
    ),
    y=Axis(ticks={i: shown[i]['method'] for i in rows}, down=True),
    width=420,
    height=70 + 17 * len(shown),
  )


def _first(group, names) -> str | None:
  return next(
    (n for n in names if any(_has(line, n) for line in group.methods)), None
  )


def _has(line, name: str) -> bool:
  found = line['metrics'].get(name, {})
  return 'value' in found and math.isfinite(float(found['value']))


def _value(line, name: str) -> float:
  return float(line['metrics'][name]['value'])


def _range(line, name: str) -> tuple[float, float]:
  found = line['metrics'][name]
  return tuple(float(found.get(k, math.nan)) for k in ('low', 'high'))


def _floor(group, name: str) -> tuple[float, float] | None:
  """From the row of the untouched, whose floor is that of all methods."""
  for line in reversed(group.lines):
    found = line['metrics'].get(name, {})
    if 'floor' in found:
      low, high = (float(v) for v in found['floor'][1:])
      if name.startswith('KLoM'):  # a limit: all below it is noise
        low = float(found['ideal'])
      return low, high
  return None


def _look(line, name: str) -> tuple[str, str]:
  if line['method'] in FRAMES:
    return _FRAME
  return _SAME if boards.same(line, name) else _TOLD


def _words(line, name: str) -> str:
  low, high = _range(line, name)
  value = tables.number(_value(line, name))
  between = f' ({tables.span(low, high)})' if math.isfinite(low) else ''
  told = ', as oracles' if boards.same(line, name) else ''
  return f'{line["method"]}: {value}{between}{told}'


def _axis(name: str) -> str:
  return f'{name}, points from the oracle' if name in boards.SIGNED else name
