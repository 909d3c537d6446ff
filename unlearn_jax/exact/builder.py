"""Makes stages: dispatched over devices, parents before children.

Train, repair and audit are this one loop with another idea of what exists and
of what to do with a finished stage.
"""

import collections
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from unlearn_jax import errors, trees, types
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import stages
from unlearn_jax.exact.records import Records

Finish = Callable[[stages.Stage, program_lib.State], None]
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
    devices: Sequence[jax.Device] | None = None,
  ):
    """Every survivor is checked to be what was admitted."""
    self._program, self._records, self._data = program, records, data
    self._where = records.check(data)
    self._capacity = capacity
    self._devices = devices or jax.local_devices()
    self._rows: dict[int, program_lib.Rows] = {}

  def build(
    self, wanted: Iterable[stages.Stage], find: Find, finish: Finish
  ) -> int:
    """Trains the `wanted` stages; returns how many.

    Args:
      wanted: in any order.
      find: a stage that exists already, to go on from.
      finish: is given each new stage, when it is done, parents first.
    """
    todo = sorted(set(wanted), key=lambda s: (s.depth, s.prefix, s.shard))
    children = collections.Counter(stage.parent for stage in todo)
    states: dict[stages.Stage, program_lib.State] = {}
    running: collections.deque = collections.deque()
    for stage in todo:
      parent = stage.parent
      before = states.get(parent) or self._before(parent, stage.shard, find)
      device = self._devices[stage.shard % len(self._devices)]
      state = self._program.fit(
        stage, before, self._shard_rows(stage.shard, device), device
      )
      running.append((stage, state))
      if children[stage]:
        states[stage] = state
      children[parent] -= 1
      if not children[parent]:
        states.pop(parent, None)
      # Two in flight a device: one runs while the host saves the other.
      while len(running) > 2 * len(self._devices):
        self._finish(*running.popleft(), finish)
    while running:
      self._finish(*running.popleft(), finish)
    self._rows.clear()
    return len(todo)

  def _before(self, parent, shard: int, find: Find) -> program_lib.State:
    if parent is None:
      return self._program.start(shard)
    state = find(parent)
    if state is None:
      raise ValueError(f'stage {parent} is neither there nor asked for')
    return state

  def _shard_rows(self, shard: int, device) -> program_lib.Rows:
    if shard not in self._rows:
      positions = self._records.survivors(shard)
      self._rows[shard] = self._program.rows(
        self._data.take(self._where[positions]),
        np.asarray(self._records.slice[positions]),
        self._capacity,
        device,
      )
    return self._rows[shard]

  def _finish(self, stage, state, finish: Finish) -> None:
    if not trees.all_finite(state.params):
      raise errors.TrainingDiverged(
        f'stage {stage} has parameters that are not finite'
      )
    finish(stage, state)
