"""Runs benchmarks, and shows and keeps what they found.

Each in a process of its own: none inherits memory, programs or devices of
another, and what it took at most is its own.
"""

import multiprocessing
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any

from absl import logging

from unlearn_jax import devices, errors, files
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.study.speed import (
  attacks,
  fleets,
  loops,
  pairs,
  placement,
  scale,
  systems,
)

# Those of the second kind measure the system of a recipe.
_PLAIN = {
  'loop': loops.loop,
  'non_use': systems.non_use,
  'planning': systems.planning,
  'devices': placement.devices,
  'fleet': fleets.fleet,
  'attacks': attacks.attacks,
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
  if not names or set(names) & _OF_RECIPE.keys():
    recipe_lib.Recipe.from_json(recipe)  # refuses the config of another binary
    if not recipe['data'].get('rows'):
      raise errors.ConfigError(
        f'{", ".join(_OF_RECIPE)} measure a system on the first rows of a set '
        f'that takes `rows`, got {dict(recipe["data"])}'
      )
  folder = pathlib.Path(workdir).absolute()
  files.make_folder(folder)
  summary = {
    'quick': quick,
    'fingerprint': devices.fingerprint(),
    'load_before': os.getloadavg(),
    'benchmarks': {},
    'peak_memory_gib': {},
  }
  for name in names or NAMES:
    began = time.monotonic()
    summary['benchmarks'][name], peak = _apart(name, folder, quick, recipe)
    summary['peak_memory_gib'][name] = peak
    logging.info('%s: %.0f s', name, time.monotonic() - began)
    summary['load_after'] = os.getloadavg()
    files.write_json(folder / 'speed.json', summary)  # others may be cut off
  return summary


def table(summary: Mapping[str, Any]) -> str:
  """The summary for a person, a line a measurement."""
  head = f'{"benchmark":12}{"what":46}{"median":>10}  {"quartiles":20}target'
  lines = [head, '-' * len(head)]
  for name, rows in summary['benchmarks'].items():
    for row in [*rows, _memory(summary['peak_memory_gib'][name])]:
      value = f'{row["value"]:.3g} {row["unit"]}'
      spread = f'{row["low"]:.3g} .. {row["high"]:.3g}'
      met = {None: '', True: 'met', False: 'MISSED'}[row['met']]
      lines.append(
        f'{name:12}{row["what"]:46}{value:>10}  {spread:20}'
        f'{row["target"]} {met}'.rstrip()
      )
  return '\n'.join(lines)


def _memory(gib: float) -> dict[str, Any]:
  row = pairs.Row('most memory of the process', gib, gib, gib, 'GiB', '')
  return {**row._asdict(), 'met': None}


def _apart(*arguments: Any) -> tuple[list[dict[str, Any]], float]:
  """`measured` in a fresh process."""
  fresh = multiprocessing.get_context('spawn')
  with futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
    return pool.submit(measured, *arguments).result()


def measured(
  name: str, folder: pathlib.Path, quick: bool, recipe: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], float]:
  """The rows of one benchmark, and the most GiB that this process ever had."""
  devices.keep_compiled()
  if name in _PLAIN:
    rows = _PLAIN[name](folder, quick)
  else:
    rows = _OF_RECIPE[name](folder, quick, recipe=recipe)
  found = [{**row._asdict(), 'met': row.met} for row in rows]
  return found, devices.peak_memory() / 2**30
