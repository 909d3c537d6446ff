"""A tiny fit that tells whether a machine still gives the bits it gave.

It runs before stages are trained, on made-up rows and with the program that
trains them, on every device that is used. Its digest is recorded the first
time and must never change while the fingerprint of the machine stays the same:
a driver that was exchanged, a core that fails or a flag that is read by nobody
we know would make stages that no rebuild can equal.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from unlearn_jax import devices, errors, files, keys, trees, types
from unlearn_jax.exact import places, stages
from unlearn_jax.exact import program as program_lib


def check(
  program: program_lib.Program, depth: int, capacity: int, path: pathlib.Path
) -> None:
  """Refuses a machine that does not repeat what it has recorded at `path`.

  Collective. A machine that is not known yet is recorded.

  Args:
    program: the one that is to train.
    depth: of the stage whose program is tried.
    capacity: rows the stages are compiled for.
    path: of the records, a JSON file.
  """
  where = places.local(program.recipe.mesh)[: program.recipe.shards]
  found = sorted({digest(program, depth, capacity, place) for place in where})
  mine = {
    'machine': devices.comparable(devices.fingerprint()),
    'depth': depth,
    'digests': found,
  }
  for process in range(jax.process_count()):
    theirs = devices.share(mine, process)
    devices.from_lead(lambda theirs=theirs: _compare(path, theirs))


def digest(
  program: program_lib.Program,
  depth: int,
  capacity: int,
  place: places.Place = None,
) -> str:
  """What a stage of this depth gives on one batch of made-up rows."""
  rows = min(program.recipe.batch_size, capacity)
  examples = _made_up(rows, program.task, program.input_shape)
  table = program.rows(examples, np.zeros(rows, np.int64), capacity, place)
  stage = stages.Stage(0, tuple(range(depth)))
  state = program.fit(stage, program.start(0), table, place)
  return trees.digest(program.own(stage, state))


def known(path: pathlib.Path) -> list[dict[str, Any]]:
  """The machines that are known."""
  try:
    with files.naming('read', path):
      if not os.path.lexists(path):
        return []
      files.check_plain(path)
      found = json.loads(path.read_bytes())
  except ValueError as error:
    raise errors.WorkdirError(f'{path} is damaged: {error}') from error
  if isinstance(found, list):
    return found  # of a version that sealed none
  try:
    fits, seal = found['fits'], found['seal']
  except (TypeError, KeyError) as error:
    raise errors.WorkdirError(f'{path} is damaged: {error!r}') from error
  if files.digest(fits) != seal:
    raise errors.WorkdirError(f'{path} is damaged: its seal does not match')
  return fits


def _made_up(
  rows: int, task: types.Task, shape: tuple[int, ...]
) -> types.Examples:
  """Rows from hashes, which are the same bits everywhere."""
  ids = np.arange(rows)
  numbers = keys.fraction(np.arange(rows * int(np.prod(shape))), 'canary')
  x = np.float32(numbers).reshape(rows, *shape)
  if task.kind == 'classification':
    y = np.int32(ids % task.num_outputs)
  else:
    y = np.zeros((rows, task.num_outputs), np.float32)
  return types.Examples(x, y, ids, ids)


def _compare(path: pathlib.Path, mine: Mapping[str, Any]) -> None:
  recorded = known(path)
  if len(mine['digests']) > 1:
    raise errors.NotReproducible(
      f'the devices of this machine give {len(mine["digests"])} different '
      'results for the same tiny fit; nothing was trained'
    )
  for record in recorded:
    same_fit = all(record[k] == mine[k] for k in ('machine', 'depth'))
    if same_fit and record['digests'] != mine['digests']:
      raise errors.NotReproducible(
        f'a tiny fit gave {record["digests"]} when it was recorded in {path} '
        f'and gives {mine["digests"]} now, on what should be the same machine; '
        'nothing was trained'
      )
    if same_fit:
      return
  with files.naming('write', path):
    fits = files.to_json([*recorded, mine])
    files.write_json(path, {'fits': fits, 'seal': files.digest(fits)})
