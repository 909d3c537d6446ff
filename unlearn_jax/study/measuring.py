"""Measures a profile: trains a system, and times repairs of it.

Predictions are of repairs, so repairs are what is timed: programs are compiled
then, and what comes before the first step is paid. Wall-clock time tells little
on a machine that others use too; the CPU time of the same repairs stands beside
it, as a profile of its own.
"""

import contextlib
import itertools
import pathlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from unlearn_jax import devices, errors, files, losses
from unlearn_jax.exact import partition, serving, stages
from unlearn_jax.exact import profile as profile_lib
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study import progress as progress_lib

_MIXTURES = 2000

CLOCKS = {'wall': time.monotonic, 'cpu': time.process_time}


class Timed(NamedTuple):
  """One repair: its stages in order, rows of each, when each was finished."""

  trained: tuple[stages.Stage, ...]
  rows: tuple[int, ...]
  finished: dict[str, list[float]]  # of each clock, seconds from the call
  whole: dict[str, float]
  told: int  # rows of an epoch of what was trained, as the engine says


class Places:
  """Who stands where, as the engine has it, and who is left."""

  def __init__(self, system: system_lib.System):
    data, recipe = system.recipe.open_data(), system.recipe
    self.ids = data.ids
    self.shard, self.part = partition.place(
      data.owners,
      shards=recipe.shards,
      slices=recipe.slices,
      **recipe.placement,
    )
    self.alive = np.ones(len(data), bool)

  def counts(self, shards: int, slices: int) -> np.ndarray:
    """[shards, slices] of those who are left."""
    counts = np.zeros((shards, slices), np.int64)
    np.add.at(counts, (self.shard[self.alive], self.part[self.alive]), 1)
    return counts

  def first(self, shard: int, part: int) -> int:
    """The first of a slice who is left."""
    here = self.alive & (self.shard == shard) & (self.part == part)
    if not here.any():
      raise errors.DataError(f'slice {part} of shard {shard} is empty')
    return int(np.flatnonzero(here)[0])


class Calibration:
  """Repairs that tell the paces of a system: one after the other, in rounds.

  One example of each slice of an order, of each two that follow each other, and
  of each in two shards.
  """

  def __init__(self, system: system_lib.System):
    self._system, self._places = system, Places(system)
    self._order = system.sequences[0]
    slices, self._shards = len(self._order), system.recipe.shards
    widths = ['one', 'two'][:slices] + ['both'] * (self._shards > 1)
    self._kinds = list(itertools.product(range(slices), widths))
    self._next = 0

  def __len__(self) -> int:
    """Repairs of a round."""
    return len(self._kinds)

  def repair(self) -> Timed:
    """The next one."""
    number, kind = divmod(self._next, len(self))
    at, width = self._kinds[kind]
    self._next += 1
    slices = len(self._order)
    shard = (number * slices + at) % self._shards
    hits = [(shard, self._order[at])]
    if width == 'two':
      hits.append((shard, self._order[(at + 1) % slices]))
    if width == 'both':
      hits.append(((shard + 1) % self._shards, self._order[at]))
    chosen = [self._places.first(*hit) for hit in hits]
    gone = delete(self._system, self._places, chosen).gone
    return repair(self._system, self._places, gone)


def measure(
  recipe: Mapping[str, Any], workdir: str, *, name: str, rounds: int = 1
) -> dict[str, Any]:
  """Trains a system in `<workdir>/system` and measures it.

  It then loses examples to a `Calibration` of so many rounds. Returns {'wall':
  profile, 'cpu': profile, ..}, which also stands in `<workdir>/measure.json`.
  """
  if rounds < 1:
    raise errors.ConfigError(f'rounds is at least 1, got {rounds}')
  check_device()
  folder = pathlib.Path(workdir)
  system = system_lib.System.create(str(folder / 'system'), recipe)
  with contextlib.closing(system):
    began = time.monotonic()
    with progress_lib.Reporter('train') as report:
      system.train(report)
    trained = time.monotonic() - began
    known, calibration, timed = facts(system, name), Calibration(system), []
    total = rounds * len(calibration)
    with progress_lib.Progress(total, 'repairs', 'repairs') as bar:
      for _ in range(total):
        timed.append(calibration.repair())
        bar.update(1)
    summary = profiles(known, timed, system.recipe)
  summary |= {
    'repairs': len(timed),
    'stages': sum(len(one.trained) for one in timed),
    'training_seconds': trained,
    'device': devices.describe(),
  }
  files.write_json(folder / 'measure.json', summary)
  return summary


def check_device() -> None:
  """Refuses several devices: predictions are of one."""
  count = jax.local_device_count()
  if count > 1:
    raise errors.ConfigError(f'times are measured on one device, got {count}')


def facts(system: system_lib.System, name: str) -> dict[str, Any]:
  """All of a profile but times; the system must be whole."""
  recipe = system.recipe
  return {
    'name': name,
    'shards': recipe.shards,
    'slices': recipe.slices,
    'batch_size': recipe.batch_size,
    'epochs': recipe.epochs,
    'examples': system.status()['examples'],
    'stage_bytes': stage_bytes(system),
    'accuracy': accuracy(system),
  }


def profiles(
  known: Mapping[str, Any], timed: Sequence[Timed], recipe: Any
) -> dict[str, Any]:
  """A profile by each clock, checked."""
  found = {clock: {**known, **paces(timed, recipe, clock)} for clock in CLOCKS}
  for values in found.values():
    profile_lib.Profile.from_json(values)
  return found


def delete(
  system: system_lib.System, places: Places, positions: Sequence[int]
) -> system_lib.Receipt:
  """Deletes the rows at `positions`, here and in the system."""
  places.alive[list(positions)] = False
  return system.delete(places.ids[list(positions)].tolist())


def repair(
  system: system_lib.System, places: Places, gone: Iterable[str]
) -> Timed:
  """Repairs against the clocks what deletions have left `gone`."""
  gone = set(gone)
  # As the builder goes about it; all others exist.
  trained = tuple(stage for stage in system.wanted if str(stage) in gone)
  counts = places.counts(system.recipe.shards, system.recipe.slices)
  rows = tuple(
    int(counts[stage.shard, list(stage.prefix)].sum()) for stage in trained
  )
  began = {clock: read() for clock, read in CLOCKS.items()}
  finished: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
  told = []

  def stamp(done, total):
    del total
    told.append(done)
    for clock, read in CLOCKS.items():
      finished[clock].append(read() - began[clock])

  made = system.repair(stamp)
  whole = {clock: read() - began[clock] for clock, read in CLOCKS.items()}
  if made != len(trained):
    raise errors.CheckpointError(
      f'a repair made {made} stages where {len(trained)} were gone: somebody '
      'else uses this system'
    )
  return Timed(trained, rows, finished, whole, told[-1] if told else 0)


def paces(timed: Sequence[Timed], recipe: Any, clock: str) -> dict[str, Any]:
  """Seconds of a step at each depth, and of a repair beside its steps.

  A stage that another one came before tells its own steps; the first of a
  repair tells them with what comes before, and repairs of two shards tell what
  a shard adds to that. What comes after the last is told by itself. Medians.
  """
  first: dict[int, list[tuple[float, int]]] = {}
  later: dict[int, list[tuple[float, int]]] = {}
  for one in timed:
    seconds = np.diff([0.0, *one.finished[clock]])
    steps = _steps(one, recipe)
    for number, stage in enumerate(one.trained):
      kind = later if number else first
      if steps[number] and (number or not _several(one)):
        kind.setdefault(stage.depth, []).append(
          (seconds[number], steps[number])
        )
  pace = {d: np.median([s / n for s, n in of]) for d, of in later.items()}
  before = _median(
    s - n * pace[d] for d, of in first.items() for s, n in of if d in pace
  )
  for d, of in first.items():
    if d not in pace:
      pace[d] = np.median([max(s - before, 1e-9) / n for s, n in of])
  missing = [d for d in range(1, recipe.slices + 1) if d not in pace]
  if missing:
    raise errors.DataError(f'no repair has trained at depth {missing}')
  after = _median(one.whole[clock] - one.finished[clock][-1] for one in timed)
  more = _median(
    one.finished[clock][-1]
    - before
    - sum(
      pace[stage.depth] * n
      for stage, n in zip(one.trained, _steps(one, recipe), strict=True)
    )
    for one in timed
    if _several(one)
  )
  return {
    'step_seconds': [float(pace[d]) for d in range(1, recipe.slices + 1)],
    'repair_seconds': before + after,
    'shard_seconds': more,
  }


def _steps(one: Timed, recipe: Any) -> list[int]:
  return [recipe.epochs * -(-rows // recipe.batch_size) for rows in one.rows]


def _several(one: Timed) -> bool:
  return len({stage.shard for stage in one.trained}) > 1


def _median(values: Iterable[float]) -> float:
  """What cannot be told is 0, and noise makes nothing negative."""
  values = list(values)
  return max(float(np.median(values)), 0.0) if values else 0.0


def stage_bytes(system: system_lib.System) -> list[float]:
  """Mean bytes on disk of a stage at each depth."""
  names = system.names()
  found: dict[int, list[int]] = {}
  for stage in system.wanted:
    folder = system.workdir / 'stages' / names[stage]
    size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
    found.setdefault(stage.depth, []).append(size)
  return [float(np.mean(found[depth])) for depth in sorted(found)]


def accuracy(system: system_lib.System) -> dict[str, float]:
  """On the test split, of every mixture of depths, of the first sequence.

  Each is the mean over the ways to go around the circle of shards with it.
  """
  test = system.recipe.open_data('test')
  if test.task.kind != 'classification' or not len(test):
    raise errors.ConfigError(
      'what a depth is worth is accuracy on a test split'
    )
  shards, order = system.recipe.shards, system.sequences[0]
  wanted = profile_lib.mixtures(shards, len(order))
  if len(wanted) > _MIXTURES:
    raise errors.ConfigError(
      f'{shards} shards of {len(order)} slices may serve in {len(wanted)} ways; '
      f'up to {_MIXTURES} are measured'
    )
  x, found = test.all().x, {}
  depths = range(1, len(order) + 1)
  with progress_lib.Progress(shards * len(order), 'worth', 'stages') as bar:
    for shard, depth in itertools.product(range(shards), depths):
      stage = stages.Stage(shard, tuple(order[:depth]))
      found[shard, depth] = system.answers([stage], x)[0]
      bar.update(1)

  def correct(served):
    answers = [found[place] for place in enumerate(served) if place[1]]
    outputs = serving.combine(np.stack(answers), system.recipe.aggregate)
    return np.mean(losses.correct(outputs, test.labels))

  return {
    profile_lib.key(mixture): float(
      np.mean([correct(np.roll(mixture, n).tolist()) for n in range(shards)])
    )
    for mixture in wanted
  }
