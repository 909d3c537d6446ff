"""Pictures of an exact system: its requests, its stages, what served."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from unlearn_jax.exact import stages
from unlearn_jax.study.report import tables
from unlearn_jax.study.report.picture import Axis, Dots, Figure, Line, Panel

_LAST = 40  # requests and steps that are shown, and rows of stages
_LEAST = 0.001  # seconds: what came sooner stands there
_REACHED = {  # name of a time: words, look, and how far below its line
  'deactivated': ('not used any more', ('blue', 'square'), 0.0),
  'repaired': ('repaired', ('green', 'triangle'), -0.2),
  'erased': ('erased', ('orange', 'diamond'), 0.2),
}
_THERE = ('blue', 'square')
_NEW = ('orange', 'circle')
_GONE = ('grey', 'gap', '×')
_SERVES = ('ink', 'line')
_SHORTER = ('purple', 'diamond')


def timeline(requests: Sequence[Mapping[str, Any]]) -> Figure:
  """A line for each request, from its acceptance to its erasure."""
  shown = requests[-_LAST:]
  after = [
    {
      name: max(request[name] - request['accepted'], _LEAST)
      for name in _REACHED
      if request[name] is not None
    }
    for request in shown
  ]
  every = [seconds for of in after for seconds in of.values()] or [1.0]
  begin, end = min(every) / 2, max(every) * 2
  marks: list[Line | Dots] = []
  for i, of in enumerate(after):
    last = max(of.values()) if 'repaired' in of else end
    marks.append(Line(x=[begin, last], y=[i, i], tone='grey'))
  for name, (words, (tone, shape), below) in _REACHED.items():
    at = [i for i, of in enumerate(after) if name in of]
    if at:
      marks.append(
        Dots(
          x=[after[i][name] for i in at],
          y=[i + below for i in at],
          tone=tone,
          shape=shape,
          names=[
            f'{words} after {tables.number(after[i][name])} s' for i in at
          ],
        )
      )
  left_out = len(requests) - len(shown)
  return Figure(
    name='timeline',
    caption=(
      'How long after a request was accepted its examples were not used any '
      'more, what had seen them was trained again, and their traces were '
      'erased. A line that runs to the edge waits for its repair.'
      + f' The last {_LAST} of {len(requests)} requests.'
      * bool(left_out)
    ),
    panels=[
      Panel(
        title='Requests',
        about=f'{len(shown)} requests, each with the seconds from its '
        'acceptance until nothing used the examples any more, and until it was '
        'repaired and erased.',
        marks=marks,
        x=Axis('seconds after it was accepted', 'log'),
        y=Axis(
          ticks={
            i: f'{r["seq"]}: {r["kind"]} {r["count"]}'
            for i, r in enumerate(shown)
          },
          down=True,
        ),
        width=440,
        height=80 + 26 * max(len(shown), 2),
      )
    ],
    key={words: look for words, look, _ in _REACHED.values()},
  )


def depths(steps: Sequence[tuple[str, Sequence[int]]], slices: int) -> Figure:
  """How many slices each shard answered with after every step, by name."""
  shown, shards = steps[-_LAST:], len(steps[0][1])
  every = [
    (shard, row, depth)
    for row, (_, of) in enumerate(shown)
    for shard, depth in enumerate(of)
  ]
  marks, key = [], {}
  for words, look, chosen in (
    ('all slices', _THERE, [of for of in every if of[2] == slices]),
    (
      'fewer: the longest prefix that is left',
      _SHORTER,
      [of for of in every if 0 < of[2] < slices],
    ),
    (
      'none: the shard does not answer',
      _GONE,
      [of for of in every if not of[2]],
    ),
  ):
    if chosen:
      key[words] = tone, shape, *inside = look
      marks.append(
        Dots(
          x=[shard for shard, _, _ in chosen],
          y=[row for _, row, _ in chosen],
          inside=inside * len(chosen) or [str(depth) for *_, depth in chosen],
          tone=tone,
          shape=shape,
        )
      )
  few = -(-shards // 16)  # so many shards share a name
  return Figure(
    name='depths',
    caption='How many slices each shard answered with after each step.',
    panels=[
      Panel(
        title='Served depth',
        about='; '.join(f'{name}: {tables.words(of)}' for name, of in shown),
        marks=marks,
        x=Axis('shard', ticks={i: str(i) for i in range(0, shards, few)}),
        y=Axis(ticks={i: name for i, (name, _) in enumerate(shown)}, down=True),
        width=max(440, 180 + 18 * shards),
        height=70 + 24 * max(len(shown), 2),
      )
    ],
    key=key,
  )


def of_stages(
  orders: Sequence[Sequence[int]],
  shards: int,
  moments: Iterable[Mapping[str, Any]],
  gone: str,
) -> Figure:
  """Which stages there were at some moments, and which served.

  Args:
    orders: in which every shard learns its slices.
    shards: how many.
    moments: {'title', 'below', 'there', 'new', 'served'}, the last three
      stages by their texts; `new` were trained since the moment before.
    gone: why a stage is not there.
  """
  shown = min(max(1, _LAST // len(orders)), shards)
  kinds = {
    'a stage; its number is the slice it learned last': _THERE,
    'trained again by the repair': _NEW,
    gone: _GONE,
    'what the shard answers with': _SERVES,
  }
  panels = [_stages(orders, shown, **moment) for moment in moments]
  used = {
    (mark.tone, mark.shape)
    for panel in panels
    for mark in panel.marks
    if isinstance(mark, Dots)
  }
  return Figure(
    name='stages',
    caption=(
      'A row is an order in which a shard learns its slices; each stage goes '
      'on from the one on its left.'
      + f' The first {shown} of {shards} shards.'
      * (shown < shards)
    ),
    panels=panels,
    key={
      words: look
      for words, look in kinds.items()
      if look == _SERVES or look[:2] in used
    },
  )


def _stages(
  orders: Sequence[Sequence[int]],
  shards: int,
  *,
  title: str,
  below: str,
  there: Collection[str],
  new: Collection[str],
  served: Sequence[str | None],
) -> Panel:
  """One moment: a grid of stages for each shard, one above the other."""
  tall = len(orders) + 0.6  # of a shard, with what parts it from the next
  kinds: dict[tuple[str, ...], list] = {_THERE: [], _NEW: [], _GONE: []}
  lines: dict[int, Line] = {}
  for shard, (row, order) in itertools.product(
    range(shards), enumerate(orders)
  ):
    y = shard * tall + row
    for depth, part in enumerate(order, 1):
      stage = str(stages.Stage(shard, tuple(order[:depth])))
      look = _NEW if stage in new else _THERE if stage in there else _GONE
      kinds[look].append((depth, y, str(part), f'stage {stage}'))
      if stage == served[shard]:
        way = Line(x=[0.55, depth], y=[y, y], tone=_SERVES[0])
        lines.setdefault(shard, way)  # orders that begin alike share stages
  marks: list[Line | Dots] = list(lines.values())
  for (tone, shape, *inside), found in kinds.items():
    if found:
      x, y, parts, names = zip(*found, strict=True)
      marks.append(
        Dots(
          x=x,
          y=y,
          inside=inside * len(found) or parts,
          names=names,
          tone=tone,
          shape=shape,
        )
      )
  middle = (len(orders) - 1) / 2
  return Panel(
    title=title,
    about=f'{below}. Shards answer with the stages {tables.words(served)}.',
    marks=marks,
    x=Axis(
      below,
      ticks={
        depth: 'depth 1' if depth == 1 else str(depth)
        for depth in range(1, len(orders[0]) + 1)
      },
    ),
    y=Axis(
      ticks={i * tall + middle: f'shard {i}' for i in range(shards)}, down=True
    ),
    width=270,
    height=round(76 + 20 * (shards * tall + 0.4)),
  )
