"""The whole way in one call: train, delete, serve, repair, audit.

What the quickstart shows. Only a directory that an earlier tour has made is
ever started over.
"""

import contextlib
import pathlib
import shutil
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax import errors, files, inputs, keys, types, worth
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study import progress as progress_lib

_SUMMARY = 'quickstart.json'


def run(
  recipe: Mapping[str, Any], workdir: str, *, forget: int = 3
) -> dict[str, Any]:
  """Does all of it in `<workdir>/system`.

  Args:
    recipe: of the system, on data with a test split.
    workdir: made when missing.
    forget: how many examples are deleted.

  Returns:
    The summary; its `steps` are the rows of a table, `after` the stages after
    each. The audit is against `<workdir>/clean.npz`, which never holds what was
    deleted. The certificate of the deletion is in `<workdir>/certificate.json`.
  """
  began = time.monotonic()
  folder = _fresh(pathlib.Path(workdir))
  system = system_lib.System.create(folder / 'system', recipe)
  with contextlib.closing(system):
    data = system.recipe.open_data()
    chosen = data.ids[keys.order(data.ids, 'quickstart')[:forget]].tolist()
    steps, after, seen = [], {}, {}

    def step(what, act):
      result, row = _timed(what, system, act)
      steps.append(row)
      after[what] = _stages(system, seen)
      return result

    trained = step('train', system.train)
    receipt = step('delete', lambda report: system.delete(chosen))
    repaired = step('repair', system.repair)
    path = folder / 'clean.npz'
    write_clean(path, data, without=chosen)
    clean = inputs.read_clean(str(path), data)
    found = step('audit E3', lambda report: system.audit('E3', clean, report))
    certificate = folder / 'certificate.json'
    files.write_json(certificate, system.certificate(receipt.request))
  summary = {
    'steps': steps,
    'after': after,
    'examples': len(data),
    'forgotten': chosen,
    'stages': trained,
    'stages_gone': len(receipt.gone),
    'stages_repaired': repaired,
    'seconds_to_non_use': receipt.seconds,
    'bit_identical': f'{found.equal} of {found.checked} stages',
    'passed': found.passed,
    'certificate': str(certificate),
    'head': receipt.head,  # of a real system it is kept elsewhere
    'seconds': time.monotonic() - began,
  }
  files.write_json(folder / _SUMMARY, summary)
  return summary


def write_clean(path: pathlib.Path, data: types.Dataset, without) -> None:
  """Writes all but some examples, as stored, as an .npz for an audit."""
  kept = data.subset(np.flatnonzero(~np.isin(data.ids, without)))
  np.savez(
    path,
    x=kept.read(np.arange(len(kept))),
    y=kept.labels,
    id=kept.ids,
    owner=kept.owners,
  )


def _timed(what: str, system: system_lib.System, act):
  """Does something; its result, and how long it took and what serves then."""
  with progress_lib.Reporter(what) as report:
    began = time.monotonic()
    result = act(report)
    seconds = time.monotonic() - began
  scores = worth.scores(system) or {}  # nothing when all shards are dead
  return result, {
    'step': what,
    'seconds': seconds,
    'served_depths': system.status()['served_depths'],
    'accuracy': scores.get('accuracy'),
  }


def _stages(system: system_lib.System, seen: dict[str, str]) -> dict[str, Any]:
  """Which stages there are, which are not as they were `seen`, which serve."""
  found = system.digests()
  new = [stage for stage in found if found[stage] != seen.get(stage)]
  seen |= found
  return {
    'there': list(found),
    'new': new,
    'served': system.status()['served'],
  }


def _fresh(folder: pathlib.Path) -> pathlib.Path:
  if (folder / _SUMMARY).exists():
    shutil.rmtree(folder / 'system', ignore_errors=True)
  elif folder.exists() and any(folder.iterdir()):
    raise errors.WorkdirError(
      f'{folder} is not empty and no quickstart made it; nothing was touched'
    )
  files.make_folder(folder)
  # From here on the directory is known as ours.
  files.write_json(folder / _SUMMARY, {'passed': None})
  return folder
