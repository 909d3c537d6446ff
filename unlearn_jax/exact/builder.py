"""Makes stages: spread over processes and devices, parents before children.

Train, repair and audit are this one loop with another idea of what exists and
of what to do with a finished stage. Shard s belongs to process s mod their
number, and there to one place (a device, or a mesh); who trains a stage moves
no bit of it. All processes walk the same list, train what is theirs, and are
given every stage in the same order.
"""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from unlearn_jax import devices, errors, trees, types
from unlearn_jax.exact import places, stages
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact.records import Records


class Made(NamedTuple):
  """A finished stage on the host, and the machine that it was made on."""

  tree: Mapping[str, Any]  # `Program.own`
  fingerprint: Mapping[str, Any]


Finish = Callable[[stages.Stage, Made], None]
Find = Callable[[stages.Stage], program_lib.State | None]


class Builder:
  """Fits stages on the surviving rows of a data set."""

  def __init__(
    self,
    program: program_lib.Program,
    records: Records,
    data: types.Dataset,
    *,
    capacity: int,
    where: Sequence[places.Place] | None = None,
  ):
    """Fixes who the survivors are, each checked to be what was admitted.

    `where` this process trains: by default on all of its devices.
    """
    self._program, self._data = program, data
    at = records.check(data)
    chosen = [records.survivors(s) for s in range(program.recipe.shards)]
    self._positions = [at[positions] for positions in chosen]
    self._slices = [records.slice[positions] for positions in chosen]
    self._capacity = capacity
    self._places = where or places.local(program.recipe.mesh)
    self._rows: dict[int, program_lib.Rows] = {}
    self._fingerprint = devices.fingerprint()

  def build(
    self,
    wanted: Iterable[stages.Stage],
    find: Find,
    finish: Finish,
    valid: Callable[[], bool] = lambda: True,
  ) -> bool:
    """Trains the `wanted` stages; False when it stopped before all were done.

    Collective: of a cluster every process calls it, with the same stages.

    Args:
      wanted: in any order.
      find: a stage that exists already, to go on from.
      finish: is given each new stage, when it is done, parents first; in
        every process, whoever trained it.
      valid: asked before each stage; once it says no, nothing more is read.
    """
    todo = sorted(set(wanted), key=lambda s: (s.depth, s.prefix, s.shard))
    children = collections.Counter(stage.parent for stage in todo)
    states: dict[stages.Stage, program_lib.State] = {}
    running: collections.deque = collections.deque()
    for stage in todo:
      # Before anything runs: they are made on one device, and would wait there.
      if stage.parent is None and self._owner(stage) == jax.process_index():
        self._program.start(stage.shard)
    # Two in flight a place: one runs while the host saves the other.
    most = 2 * len(self._places) * jax.process_count()
    for stage in todo:
      if not valid():
        return False
      state = None
      if self._owner(stage) == jax.process_index():
        state = self._begin(stage, states, find)
        if children[stage]:
          states[stage] = state
        children[stage.parent] -= 1
        if not children[stage.parent]:
          states.pop(stage.parent, None)
      running.append((stage, state))
      while len(running) > most:
        self._finish(*running.popleft(), finish)
    while running:
      self._finish(*running.popleft(), finish)
    self._rows.clear()
    return True

  def _owner(self, stage: stages.Stage) -> int:
    """The process that trains a stage; all of a shard are in one."""
    return stage.shard % jax.process_count()

  def _place(self, shard: int) -> places.Place:
    return self._places[shard // jax.process_count() % len(self._places)]

  def _begin(self, stage, states, find: Find) -> program_lib.State:
    """Sends a stage on its way; the state comes when it is read."""
    before = states.get(stage.parent)
    if before is None:
      before = self._before(stage.parent, stage.shard, find)
    place = self._place(stage.shard)
    rows = self._shard_rows(stage.shard, place)
    return self._program.fit(stage, before, rows, place)

  def _before(self, parent, shard: int, find: Find) -> program_lib.State:
    if parent is None:
      return self._program.start(shard)
    state = find(parent)
    if state is None:
      raise ValueError(f'stage {parent} is neither there nor asked for')
    return state

  def _shard_rows(self, shard: int, place) -> program_lib.Rows:
    if shard not in self._rows:
      self._rows[shard] = self._program.rows(
        self._data.take(self._positions[shard]),
        self._slices[shard],
        self._capacity,
        place,
      )
    return self._rows[shard]

  def _finish(self, stage, state, finish: Finish) -> None:
    made = None
    if state is not None:
      made = Made(self._program.own(stage, state), self._fingerprint)
    made = devices.share(made, self._owner(stage))
    # After sharing: every process finds the same, and stops alike.
    if not trees.all_finite(made.tree['params']):
      raise errors.TrainingDiverged(
        f'stage {stage} has parameters that are not finite'
      )
    finish(stage, made)
