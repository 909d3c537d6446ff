"""What can be asked of the system in a work directory, one call each.

Every function opens the system, does one thing, and returns what happened as a
plain dict, which it also leaves as `<workdir>/<name>.json`. What changes or
checks a system adds a line of counts to `<workdir>/history.jsonl`. Whatever is
wrong with a request is refused before anything changes.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from unlearn_jax import devices, errors, files, inputs, types, worth
from unlearn_jax.exact import audit as audit_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.study import writer as writer_lib

# What the numbers of an answer are, by how the shards were combined.
_OUTPUTS = {
  'mean_logit': 'logits',
  'mean_prob': 'probabilities',
  'vote': 'votes',
}
# What stands in the history, and what of it.
_REMEMBERED = ('train', 'delete', 'repair', 'erase', 'add', 'audit')
_COUNTS = (
  'trained',
  'deleted',
  'added',
  'erased',
  'level',
  'passed',
  'checked',
  'equal',
  'seconds',
  'seconds_to_non_use',
)


def train(recipe: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """Creates the system if the directory is new, and trains what is missing.

  A training that was killed goes on with the first stage it had not stored. A
  system of another recipe is refused.
  """
  system, created = _create_or_open(_found_from_anywhere(recipe), workdir)
  with contextlib.closing(system):
    return _write(workdir, 'train', {'created': created, **_repair(system)})


def repair(
  workdir: str, *, rebuild: bool = False, take_over: bool = False
) -> dict[str, Any]:
  """Trains what deletions and additions have left missing, and only that.

  Then erases what depends on deleted examples, and certifies it.

  Args:
    workdir: of the system.
    rebuild: also what another machine or version has made.
    take_over: from a process that holds the system and does not move.
  """
  with _opened(workdir, take_over=take_over) as system:
    return _write(workdir, 'repair', _repair(system, rebuild))


def erase(workdir: str) -> dict[str, Any]:
  """Removes the files that depend on deleted examples, without training.

  Only requests that are repaired count as erased.
  """
  with _opened(workdir) as system:
    return _write(workdir, 'erase', _certified(system, system.erase()))


def certificate(workdir: str, request: int) -> dict[str, Any]:
  """Issues the certificate of a request as things stand now."""
  with _opened(workdir) as system:
    path, found = _certify(system, request)
    summary = {
      'request': request,
      'examples': len(found['deleted']),
      'head': found['head'],
      'certificate': str(path),
    }
    return _write(workdir, 'certificate', summary)


def delete(
  workdir: str,
  *,
  ids: Sequence[str] = (),
  ids_file: str | None = None,
  owners: Sequence[str] = (),
  name: str | None = None,
  repair: bool = False,
) -> dict[str, Any]:
  """Stops using examples, at once.

  Args:
    workdir: of the system.
    ids: as text; whole numbers if the system's ids are.
    ids_file: more of them, one a line.
    owners: whose examples are deleted, all of them; as text too.
    name: of the request: asked again by it, the answer is the same.
    repair: train again what is missing then, before returning.
  """
  with _opened(workdir) as system:
    data = _data(system)
    chosen = inputs.names(ids, data.ids)
    if ids_file is not None:
      chosen += inputs.names_of_file(ids_file, data.ids)
    of_owners = inputs.names(owners, data.owners, what='owner')
    if not chosen and not of_owners:
      raise errors.ConfigError('name at least one id or owner to delete')
    summary = dataclasses.asdict(system.delete(chosen, of_owners, name=name))
    summary['seconds_to_non_use'] = summary.pop('seconds')
    if repair:
      summary['repair'] = _repair(system)
    return _write(workdir, 'delete', summary)


def add(
  workdir: str, ids: Sequence[str], *, allow_reinsert: bool = False
) -> dict[str, Any]:
  """Admits examples that the data set holds now; `repair` trains on them."""
  with _opened(workdir) as system:
    chosen = inputs.names(ids, _data(system).ids)
    if not chosen:
      raise errors.ConfigError('name at least one id to add')
    added = system.add(chosen, allow_reinsert=allow_reinsert)
    seen = system.status()
    kept = ('examples', 'stages', 'missing', 'served_depths')
    facts = {name: seen[name] for name in kept}
    return _write(workdir, 'add', {'added': added, **facts})


def predict(workdir: str, source: str, target: str) -> dict[str, Any]:
  """Answers for the inputs `x` of an .npz, as stored, into another .npz.

  The target holds the combined outputs (called what they are: logits,
  probabilities or votes), the predictions, and the served depth of each shard.
  """
  if not target.endswith('.npz'):
    raise errors.ConfigError(f'the output is an .npz file, got {target!r}')
  if not pathlib.Path(target).absolute().parent.is_dir():
    raise errors.ConfigError(f'there is no folder to write {target} into')
  with _opened(workdir) as system:
    data = _data(system)
    x = inputs.read_inputs(source, data)
    began = time.monotonic()
    outputs = system.predict(data.normalize(x))
    seconds = time.monotonic() - began
    depths = system.status()['served_depths']
    arrays = {'predictions': outputs, 'served_depths': np.array(depths)}
    if data.task.kind == 'classification':
      arrays['predictions'] = outputs.argmax(-1)
      arrays[_OUTPUTS[system.recipe.aggregate]] = outputs
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.replace(pathlib.Path(target), content.getvalue())
    summary = {
      'rows': len(x),
      'served_depths': depths,
      'seconds': seconds,
      'output': target,
      'arrays': sorted(arrays),
    }
    return _write(workdir, 'predict', summary)


def audit(
  workdir: str,
  level: str,
  data: str | None = None,
  *,
  sample: int | None = None,
  head: str | None = None,
) -> dict[str, Any]:
  """Rebuilds stages from clean data and compares them bit for bit.

  Args:
    workdir: of the system.
    level: 'E1' for what is served, 'E2' for every stage, 'E3' for every stage
      and for what may be left of the deleted.
    data: an .npz with x, y, id and maybe owner of what was not deleted, as the
      data set stores them; by default the survivors in the data set itself.
    sample: rebuild only so many stages, drawn anew each time.
    head: of the log, kept elsewhere; refused where it was never passed.
  """
  with _opened(workdir, head=head) as system:
    clean = None if data is None else inputs.read_clean(data, _data(system))
    began = time.monotonic()
    with progress_lib.Reporter('audit') as report:
      found = system.audit(level, clean, report, sample=sample)
    summary = {
      'level': level,
      'data': 'the survivors in the data set' if data is None else data,
      'passed': found.passed,
      **{k: v for k, v in dataclasses.asdict(found).items() if k != 'level'},
      'seconds': time.monotonic() - began,
      'device': devices.describe(),
    }
    return _write(workdir, 'audit', summary)


def why_failed(summary: Mapping[str, Any]) -> str:
  """What an audit that did not pass found wrong, in one line."""
  parts = []
  for kind in audit_lib.PROBLEMS:
    stages = summary[kind]
    if stages:
      more = ', ...' if len(stages) > 5 else ''
      named = ', '.join(stages[:5]) + more
      parts.append(f'{len(stages)} {kind.replace("_", " ")}: {named}')
  return f'audit {summary["level"]} did not pass: {"; ".join(parts)}'


def status(workdir: str, *, head: str | None = None) -> dict[str, Any]:
  """What is there, what is missing, what serves."""
  with _opened(workdir, head=head) as system:
    summary = system.status()
    requests = summary.pop('requests')
    summary['requests'] = {
      kind: sum(r['kind'] == kind for r in requests)
      for kind in ('add', 'delete')
    } | {
      'to repair': sum(r['repaired'] is None for r in requests),
      'to erase': sum(
        r['erased'] is None and r['kind'] == 'delete' for r in requests
      ),
    }
    summary['head'] = system.head()
    return _write(workdir, 'status', summary)


def depths(workdir: str) -> dict[str, Any]:
  """What a trained system is worth on its test split, at every depth."""
  with _opened(workdir) as system:
    return _write(workdir, 'depths', worth.by_depth(system))


def _found_from_anywhere(recipe: Mapping[str, Any]) -> dict[str, Any]:
  """The recipe with its data at absolute paths: a system outlives a `cd`."""
  data = dict(recipe.get('data', {}))
  for name in ('file', 'folder'):
    if isinstance(data.get(name), str):
      data[name] = os.path.abspath(data[name])
  return {**recipe, 'data': data}


def _create_or_open(recipe, workdir) -> tuple[system_lib.System, bool]:
  path = pathlib.Path(workdir) / 'system.json'
  if not devices.from_lead(path.exists):
    return system_lib.System.create(workdir, recipe), True
  asked = recipe_lib.Recipe.from_json(recipe).to_json()
  system = system_lib.System.open(workdir)
  found = writer_lib.differences(system.recipe.to_json(), asked)
  if found:
    system.close()
    raise errors.WorkdirError(
      f'{workdir} holds a system of another recipe: {"; ".join(found)}'
    )
  return system, False


def _opened(workdir: str, **trust: Any):
  return contextlib.closing(system_lib.System.open(workdir, **trust))


def _data(system: system_lib.System) -> types.Dataset:
  return system.recipe.open_data()


def _repair(system: system_lib.System, rebuild: bool = False) -> dict[str, Any]:
  """Trains what is missing; what was trained and what it is worth."""
  before = _erased(system.status())
  began = time.monotonic()
  with progress_lib.Reporter('train') as report:
    trained = (system.rebuild if rebuild else system.repair)(report)
  seconds = time.monotonic() - began
  seen = system.status()
  return {
    'strategy': seen['strategy'],
    'model': system.recipe.model['name'],
    'data': system.recipe.data['name'],
    'examples': seen['examples'],
    'stages': seen['stages'],
    'trained': trained,
    'seconds': seconds,
    'served_depths': seen['served_depths'],
    'test': worth.scores(system),
    'digest': _digest(system),
    **_certified(system, sorted(_erased(seen) - before)),
    'device': devices.describe(),
  }


def _erased(seen: Mapping[str, Any]) -> set[int]:
  """The requests that a status has as erased."""
  return {r['seq'] for r in seen['requests'] if r['erased'] is not None}


def _certified(
  system: system_lib.System, erased: Sequence[int]
) -> dict[str, Any]:
  """Writes a certificate for each of these requests; where they are."""
  paths = []
  for request in erased:
    try:
      paths.append(str(_certify(system, request)[0]))
    except errors.StagesMissing as missing:
      logging.warning(
        'no certificate of request %d yet: another one came meanwhile (%s); '
        'after the next repair certificate.py makes it',
        request,
        missing,
      )
  return {'erased': len(erased), 'certificates': paths, 'head': system.head()}


def _digest(system: system_lib.System) -> str | None:
  """Of the whole system; None when a request has come since it was whole."""
  try:
    return system.digest()
  except errors.StagesMissing as missing:
    logging.warning('no digest: a request came meanwhile (%s)', missing)
    return None


def _certify(
  system: system_lib.System, request: int
) -> tuple[pathlib.Path, dict[str, Any]]:
  found = system.certificate(request)
  path = system.workdir / 'certificates' / f'{request}.json'
  if devices.is_lead():
    files.make_folder(path.parent)
    files.write_json(path, found)
  return path, found


def _write(workdir: str, name: str, summary: dict[str, Any]) -> dict[str, Any]:
  if not devices.is_lead():
    return summary
  files.write_json(pathlib.Path(workdir) / f'{name}.json', summary)
  if name in _REMEMBERED:
    path = pathlib.Path(workdir) / 'history.jsonl'
    _remember(path, name, summary)
    if 'repair' in summary:  # at once, after a deletion
      _remember(path, 'repair', summary['repair'])
  return summary


def _remember(path: pathlib.Path, name: str, summary) -> None:
  """Adds what happened, in counts: no line is about an example."""
  line = {'at': time.time(), 'what': name}
  line['depths'] = summary.get('served_depths', summary.get('depths'))
  counts = {k: summary[k] for k in _COUNTS if k in summary}
  line |= counts | ({'gone': len(summary['gone'])} if 'gone' in summary else {})
  before = path.read_bytes() if path.exists() else b''
  files.replace(path, before + json.dumps(files.to_json(line)).encode() + b'\n')
