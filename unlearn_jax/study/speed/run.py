"""Runs benchmarks, and shows and keeps what they found."""

import functools
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from unlearn_jax import devices, errors, files
from unlearn_jax.study.speed import fleets, loops, placement, scale, systems

# Those of the second kind measure the system of a recipe.
_PLAIN = {
  'loop': loops.loop,
  'non_use': systems.non_use,
  'planning': systems.planning,
  'devices': placement.devices,
  'fleet': fleets.fleet,
  'scale': scale.scale,
}
_OF_RECIPE = {
  'bookkeeping': systems.bookkeeping,
  'predict': systems.predict,
  'storage': systems.storage,
}
NAMES = (*_PLAIN, *_OF_RECIPE)


def run(
  names: Sequence[str],
  workdir: str,
  *,
  recipe: Mapping[str, Any],
  quick: bool = False,
) -> dict[str, Any]:
  """Runs the benchmarks `names`, all if empty; also `<workdir>/speed.json`.

  Args:
    names: of benchmarks.
    workdir: made when missing; what is measured in it is removed again.
    recipe: of the system that some of them train, on data with `rows`.
    quick: fewer pairs and a smaller system, less than five minutes in all.
  """
  for name in names:
    errors.check_choice('benchmark', name, NAMES)
  folder = pathlib.Path(workdir).absolute()
  files.make_folder(folder)
  summary = {
    'quick': quick,
    'fingerprint': devices.fingerprint(),
    'load_before': os.getloadavg(),
    'benchmarks': {},
  }
  for name in names or NAMES:
    began = time.monotonic()
    rows = _benchmark(name, recipe)(folder, quick)
    logging.info('%s: %.0f s', name, time.monotonic() - began)
    summary['benchmarks'][name] = [
      {**row._asdict(), 'met': row.met} for row in rows
    ]
    summary['load_after'] = os.getloadavg()
    files.write_json(folder / 'speed.json', summary)  # others may be cut off
  return summary


def table(summary: Mapping[str, Any]) -> str:
  """The summary for a person, a line a measurement."""
  head = f'{"benchmark":12}{"what":46}{"median":>10}  {"quartiles":20}target'
  lines = [head, '-' * len(head)]
  for name, rows in summary['benchmarks'].items():
    for row in rows:
      value = f'{row["value"]:.3g} {row["unit"]}'
      spread = f'{row["low"]:.3g} .. {row["high"]:.3g}'
      met = {None: '', True: 'met', False: 'MISSED'}[row['met']]
      lines.append(
        f'{name:12}{row["what"]:46}{value:>10}  {spread:20}'
        f'{row["target"]} {met}'.rstrip()
      )
  return '\n'.join(lines)


def _benchmark(name: str, recipe: Mapping[str, Any]):
  if name in _PLAIN:
    return _PLAIN[name]
  return functools.partial(_OF_RECIPE[name], recipe=recipe)
