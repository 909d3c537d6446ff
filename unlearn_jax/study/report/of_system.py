"""The page of an exact system: what it was asked, and what it did."""

import contextlib
import datetime
import pathlib
from typing import Any

from unlearn_jax.exact import home as home_lib
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study.report import provenance, svg, tables
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, section, tag
from unlearn_jax.study.report.picture import Axis, Dots, Figure, Line, Panel
from unlearn_jax.study.report.tables import Cell

_TONES = ('blue', 'orange', 'green', 'purple', 'sky')
_STATES = {
  'accepted': ('ink', 'circle'),
  'not used any more': ('blue', 'square'),
  'repaired': ('green', 'triangle'),
  'erased': ('orange', 'diamond'),
}
_TIMES = ('accepted', 'deactivated', 'repaired', 'erased')


def document(home: pathlib.Path, folder: pathlib.Path) -> Document:
  """The system at `home`; `folder` holds what was left beside it."""
  facts = home_lib.read(home)
  with contextlib.closing(system_lib.System.open(str(home))) as system:
    status = system.status()
  history = _history(home, folder)
  requests = status['requests']
  timeline = _timeline(requests)
  depths = _depths(history, status)
  figures = [figure for figure in (timeline, depths) if figure]
  recipe = facts['recipe']
  audit = _audits(history)
  sections = {
    'Requests': section('Requests', svg.figure(timeline), _requests(requests)),
    'What served': section(
      'What served',
      svg.figure(depths) if depths else None,
      _steps(history) if history else None,
      _served(status),
    ),
    'Audits': section(
      'Audits', audit or tag('p', 'None is known here; see audit.py.')
    ),
    'How to reproduce': provenance.of_recipe(
      recipe, _facts(status, recipe, folder, home)
    ),
  }
  return Document(
    title='A system that deletes exactly',
    lead=_lead(status, history),
    sections=sections,
    figures=figures,
  )


def _history(home, folder) -> list[dict[str, Any]]:
  """What was done, oldest first; of a quickstart its steps."""
  lines = provenance.read_lines(home / 'history.jsonl')
  tour = provenance.read(folder / 'quickstart.json')
  if lines or not tour:
    return lines
  known = {
    'train': {'trained': tour.get('stages')},
    'delete': {
      'gone': tour.get('stages_gone'),
      'deleted': len(tour.get('forgotten', ())),
      'seconds_to_non_use': tour.get('seconds_to_non_use'),
    },
    'repair': {'trained': tour.get('stages_repaired')},
    'audit E3': {
      'level': 'E3',
      'passed': tour.get('passed'),
      'of': tour.get('bit_identical'),
    },
  }
  return [
    {
      'what': step['step'],
      'depths': step['served_depths'],
      'accuracy': step['accuracy'],
      'seconds': step['seconds'],
      **known.get(step['step'], {}),
    }
    for step in tour.get('steps', ())
  ]


def _lead(status, history) -> list[str]:
  deletions = [r for r in status['requests'] if r['kind'] == 'delete']
  open_ = sum(r['repaired'] is None for r in deletions)
  count = sum(r['count'] for r in deletions)
  waits = [
    r['deactivated'] - r['accepted'] for r in deletions if r['deactivated']
  ]
  alive, shards = sum(d > 0 for d in status['served_depths']), status['shards']
  text = f'{_many(len(deletions), "request")} deleted {_many(count, "example")}'
  if waits:
    text += f', unused within {tables.number(max(waits))} s'
  if open_:
    text += f'; {_many(open_, "request")} wait{"s" * (open_ == 1)} for repair'
  elif deletions:
    text += '; everything is repaired'
  serve = (
    f'{alive} of {shards} shards serve, at depth '
    f'{tables.words(status["served_depths"])} of {status["slices"]}; '
    f'{status["stages"] - status["missing"]} of {status["stages"]} stages are '
    'there.'
  )
  audits = [line for line in history if 'passed' in line]
  if audits:
    last = audits[-1]
    verdict = 'passed' if last['passed'] else 'did not pass'
    serve += f' The last audit ({last["level"]}) {verdict}: {_equal(last)}.'
  return [f'{text}.', serve]


def _timeline(requests) -> Figure:
  """A line for each request, from its acceptance to its erasure."""
  began = requests[0]['accepted'] if requests else 0.0
  every = [r[k] - began for r in requests for k in _TIMES if r[k] is not None]
  unit, size = _unit(max(every, default=0.0))
  rows = range(len(requests))
  marks: list[Any] = []
  for i in rows:
    ends = [
      (requests[i][k] - began) / size
      for k in _TIMES
      if requests[i][k] is not None
    ]
    if requests[i]['repaired'] is None:
      ends.append(1.08 * max(every) / size)  # to the edge
    marks.append(Line(x=[ends[0], ends[-1]], y=[i, i], tone='grey'))
  for name, (tone, shape) in zip(_TIMES, _STATES.values(), strict=True):
    at = [i for i in rows if requests[i][name] is not None]
    if at:
      x = [(requests[i][name] - began) / size for i in at]
      marks.append(
        Dots(
          x=x,
          y=at,
          tone=tone,
          shape=shape,
          names=[f'{name} after {tables.number(v)} {unit}' for v in x],
        )
      )
  panel = Panel(
    title='Requests',
    about=f'{len(requests)} requests over time, each with when it was '
    'accepted, when nothing used the examples any more, and when it was '
    'repaired and erased.',
    marks=marks,
    x=Axis(f'{unit} after the first'),
    y=Axis(
      ticks={
        i: f'{r["seq"]}: {r["kind"]} {r["count"]}'
        for i, r in enumerate(requests)
      },
      down=True,
    ),
    width=600,
    height=80 + 20 * max(len(requests), 2),
  )
  return Figure(
    name='timeline',
    caption='A line that ends in no triangle waits for its repair.',
    panels=[panel],
    key=_STATES,
  )


def _depths(history, status) -> Figure | None:
  """How deep each shard served after every step."""
  steps = [line for line in history if line.get('depths')]
  if not steps:
    return None
  shards = status['shards']
  marks = [
    Line(
      x=[x + side for x in range(len(steps)) for side in (-0.5, 0.5)],
      # A little apart, so that lines of one depth are all seen.
      y=[
        line['depths'][shard] + 0.05 * (shard - (shards - 1) / 2)
        for line in steps
        for _ in range(2)
      ],
      tone=_TONES[shard % len(_TONES)],
      dashed=shard // len(_TONES) % 2 == 1,
    )
    for shard in range(shards)
  ]
  return Figure(
    name='depths',
    caption=(
      'Slices that each shard answers with after each step; at 0 it does not '
      'answer.'
    ),
    panels=[
      Panel(
        title='Served depth',
        about='; '.join(
          f'{line["what"]}: {tables.words(line["depths"])}' for line in steps
        ),
        marks=marks,
        x=Axis('', ticks={i: _brief(line) for i, line in enumerate(steps)}),
        y=Axis(
          'slices', ticks={d: str(d) for d in range(status['slices'] + 1)}
        ),
        width=max(420, 60 + 105 * (len(steps) + 1)),
        height=230,
      )
    ],
    key={
      f'shard {i}': (
        _TONES[i % len(_TONES)],
        'dashed' if i // len(_TONES) % 2 else 'line',
      )
      for i in range(shards)
    },
  )


def _brief(line) -> str:
  if 'gone' in line:
    return f'{line["what"]}: {line["gone"]} gone'
  if line.get('trained') is not None:
    return f'{line["what"]}: {line["trained"]} made'
  return line['what']


def _steps(history) -> Markup:
  scored = any('accuracy' in line for line in history)
  return tables.table(
    'What was done, in order; stages are switched off at once and made again '
    'by repair',
    [
      *('step', 'stages gone', 'stages trained', 'depths', 'seconds'),
      *['accuracy'] * scored,
    ],
    [
      [
        f'{i + 1}. {line["what"]}',
        line.get('gone'),
        line.get('trained'),
        Cell(text=tables.words(line.get('depths'))),
        line.get('seconds', line.get('seconds_to_non_use')),
        *[line.get('accuracy')] * scored,
      ]
      for i, line in enumerate(history)
    ],
    sortable=False,
  )


def _requests(requests) -> Markup:
  return tables.table(
    'Every request, as the ledger has it; seconds are from its acceptance',
    [
      'request',
      'kind',
      'examples',
      'accepted',
      'to non-use',
      'to repair',
      'to erasure',
    ],
    [
      [
        str(r['seq']),
        r['kind'],
        r['count'],
        Cell(text=_when(r['accepted']), value=r['accepted']),
        _after(r, 'deactivated'),
        _after(r, 'repaired'),
        _after(r, 'erased'),
      ]
      for r in requests
    ],
  )


def _after(request, name: str) -> Cell:
  if request[name] is None:
    return Cell(text=tables.NONE)
  seconds = request[name] - request['accepted']
  return Cell(text=f'{tables.number(seconds)} s', value=seconds)


def _served(status) -> Markup:
  return tables.table(
    'What each shard answers with now',
    ['shard', 'depth', 'stage'],
    [
      [str(i), depth, stage or 'none: it does not answer']
      for i, (depth, stage) in enumerate(
        zip(status['served_depths'], status['served'], strict=True)
      )
    ],
    sortable=False,
  )


def _audits(history) -> Markup | None:
  found = [line for line in history if 'passed' in line]
  if not found:
    return None
  return tables.table(
    'E1 rebuilds what is served, E2 every stage, from data that never held '
    'what was deleted; equal means bit for bit',
    ['level', 'passed', 'equal'],
    [
      [line['level'], 'yes' if line['passed'] else 'NO', _equal(line)]
      for line in found
    ],
    sortable=False,
  )


def _equal(line) -> str:
  if 'of' in line:
    return f'{line["of"]} are equal'
  return f'{line["equal"]} of {line["checked"]} stages are equal'


def _facts(status, recipe, folder, home) -> dict[str, Any]:
  device = provenance.read(home / 'train.json').get('device')
  found = {
    'data': recipe['data'],
    'model': recipe['model'],
    'strategy': status['strategy'],
    'examples now': status['examples'],
    'shards': status['shards'],
    'slices': status['slices'],
    'orders of slices': len(status['sequences']),
    'stages': status['stages'],
    'stages missing': status['missing'],
    'stages on disk that nothing may use': status['stale'],
    'seed': recipe.get('seed'),
    'device': device,
  }
  return {name: value for name, value in found.items() if value is not None}


def _unit(seconds: float) -> tuple[str, float]:
  for unit, size in (('days', 86400.0), ('hours', 3600.0), ('minutes', 60.0)):
    if seconds > 3 * size:
      return unit, size
  return 'seconds', 1.0


def _when(seconds: float) -> str:
  at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return at.strftime('%Y-%m-%d %H:%M:%S UTC')


def _many(count: int, what: str) -> str:
  return f'{count} {what}' + ('s' if count != 1 else '')
