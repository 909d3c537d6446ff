"""The page of an exact system: what it was asked, and what it did."""

import contextlib
import datetime
import pathlib
from typing import Any

from unlearn_jax.exact import home as home_lib
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study.report import (
  provenance,
  steps,
  svg,
  system_plots,
  tables,
)
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, section, tag
from unlearn_jax.study.report.picture import Figure
from unlearn_jax.study.report.tables import Cell


def document(home: pathlib.Path, folder: pathlib.Path) -> Document:
  """The system at `home`; `folder` holds what was left beside it."""
  facts = home_lib.read(home)
  with contextlib.closing(system_lib.System.open(str(home))) as system:
    status, there = system.status(), system.digests()
  history, moments = steps.read(home, folder)
  requests = status['requests']
  timeline = system_plots.timeline(requests)
  served = _figures(status, there, history, moments)
  figures = [timeline, *served]
  audit = _audits(history)
  recipe = facts['recipe']
  sections = {
    'Requests': section('Requests', svg.figure(timeline), _requests(requests)),
    'What served': section(
      'What served',
      *map(svg.figure, served),
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


def _figures(status, there, history, moments) -> list[Figure]:
  """What there was and what served: of a quickstart at each moment, else now."""
  orders, shards = status['sequences'], status['shards']
  if moments:
    gone = 'gone at once: it had learned a deleted example'
    return [system_plots.of_stages(orders, shards, moments, gone)]
  count = status['stages']
  now = {
    'title': 'Stages now',
    'below': f'{count - status["missing"]} of {count} stages are there',
    'there': there,
    'new': (),
    'served': status['served'],
  }
  gone = 'not there: it had learned a deleted example, or is not trained yet'
  found = [system_plots.of_stages(orders, shards, [now], gone)]
  past = [(_brief(line), line['depths']) for line in history if line['depths']]
  if past:
    found.append(system_plots.depths(past, status['slices']))
  return found


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
    f'{alive} of {shards} shards serve, with '
    f'{tables.words(status["served_depths"])} of {status["slices"]} slices; '
    f'{status["stages"] - status["missing"]} of {status["stages"]} stages are '
    'there.'
  )
  audits = [line for line in history if 'passed' in line]
  if audits:
    last = audits[-1]
    verdict = 'passed' if last['passed'] else 'did not pass'
    serve += f' The last audit ({last["level"]}) {verdict}: {_equal(last)}.'
  return [f'{text}.', serve]


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
      *['accuracy, %'] * scored,
    ],
    [
      [
        f'{i + 1}. {line["what"]}',
        line.get('gone'),
        line.get('trained'),
        Cell(text=tables.words(line.get('depths'))),
        line.get('seconds', line.get('seconds_to_non_use')),
        *[_percent(line.get('accuracy'))] * scored,
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
      'accepted (UTC)',
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


def _when(seconds: float) -> str:
  at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return at.strftime('%Y-%m-%d %H:%M:%S')


def _percent(part: float | None) -> float | None:
  return None if part is None else 100 * part


def _many(count: int, what: str) -> str:
  return f'{count} {what}' + ('s' if count != 1 else '')
