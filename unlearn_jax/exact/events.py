"""One history of a system under a stream of requests, event by event.

It follows `System` as it is on one device. A request takes effect when it
comes: the stages that hold its slice are off, and shards serve what is left. A
repair trains the missing stages, shortest first, and what it has made serves
once all of it is there. A request that comes meanwhile makes the plan old: the
stage in training is kept if nobody hit it, those sent after it are lost.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.exact import stages as stages_lib
from unlearn_jax.exact.demand import Asked
from unlearn_jax.exact.profile import Profile

POLICIES = ('at once', 'window', 'when dead', 'never')
# Stages that the device has been sent beside the one in training.
_AHEAD = 2


class Policy(NamedTuple):
  """When a repair begins: at once, at every full `window` of seconds, only
  when no shard serves any more, or never."""

  kind: str
  window: float = 0.0

  def __str__(self) -> str:
    if self.kind != 'window':
      return f'repair {self.kind}'
    return f'repair every {self.window / 3600:g} h'

  def check(self) -> None:
    errors.check_choice('repair policy', self.kind, POLICIES)
    if (self.kind == 'window') != (0 < self.window < np.inf):
      raise errors.ConfigError(
        f'a window of seconds is for the policy window alone, got '
        f'{self.window!r} for {self.kind!r}'
      )


class Repair(NamedTuple):
  """One repair: when, and what it trained, thrown away or not."""

  begin: float
  end: float
  stages: int
  samples: int


class History(NamedTuple):
  """What happened.

  times, depths: [changes] and [changes][shards], what served from then on.
  waits: [requests] seconds until all a request took was repaired; inf: never.
  repairs: every one, in order.
  samples: rows passed in training, with `wasted` of stages thrown away.
  seconds: of the device.
  answered: requests after which some shard served before the next one came.
  failed: requests until for the first time none did; None if that never was.
  """

  times: list[float]
  depths: list[tuple[int, ...]]
  waits: np.ndarray
  repairs: list[Repair]
  samples: int
  wasted: int
  seconds: float
  answered: int
  failed: int | None

  def mean(
    self, value: Callable[[tuple[int, ...]], float | None], end: float
  ) -> float:
    """Mean over time until `end` of a value of what serves.

    Where the value is None it does not count; NaN if it is None all the time.
    """
    return float(self.means(value, np.array([0.0, end]))[0])

  def means(
    self, value: Callable[[tuple[int, ...]], float | None], edges: np.ndarray
  ) -> np.ndarray:
    """The same between each two of the rising `edges`, [edges - 1]."""
    known = {depths: value(depths) for depths in set(self.depths)}
    found = [known[depths] for depths in self.depths]
    held = np.array([v is not None for v in found], float)
    worth = np.array([0.0 if v is None else v for v in found])
    at = np.minimum(np.append(self.times, np.inf), edges[-1])
    spans = np.diff(at)
    sums = [
      np.interp(edges, at, np.append(0.0, np.cumsum(w * spans)))
      for w in (held, held * worth)
    ]
    weight, total = (np.diff(s) for s in sums)
    return np.divide(
      total, weight, out=np.full(len(total), np.nan), where=weight > 0
    )


def follow(
  profile: Profile,
  sequences: Sequence[Sequence[int]],
  policy: Policy,
  asked: Asked,
) -> History:
  """What a system of this profile goes through; it begins whole.

  Repairs that are due go on after the last request, so that the costs are
  whole.
  """
  policy.check()
  site = _Site(profile, sequences, asked)
  at = 0.0
  while True:
    begin = site.next_repair(policy, at)
    coming = site.coming()
    if coming <= begin:
      if coming == np.inf:
        return site.history()
      at = coming
      site.arrive()
    else:
      at = site.repair(begin)


class _Site:
  """Stages as bits: bit i of a shard is stage i of `self._stages`."""

  def __init__(self, profile: Profile, sequences, asked: Asked):
    self._profile, self._asked = profile, asked
    self._counts = asked.counts.tolist()
    self._times = [*asked.times.tolist(), np.inf]
    self._who = list(
      zip(*(a.tolist() for a in asked[1:4]), strict=True)  # shard, part, rows
    )
    found = stages_lib.wanted(1, sequences)
    self._stages = [(stage.depth, stage.prefix) for stage in found]
    self._all = (1 << len(found)) - 1
    self._holds = [
      sum(1 << i for i, stage in enumerate(found) if part in stage.prefix)
      for part in range(profile.slices)
    ]
    shards = profile.shards
    self._alive = [self._all] * shards
    self._touched = [0] * shards  # stages hit since the plan was made
    self._served = [profile.slices] * shards
    self._changes = [(0.0, tuple(self._served))]
    self._next, self._open = 0, []
    self._waits = np.full(len(asked.times), np.inf)
    self._repairs, self._trained = [], 0
    self._samples = self._wasted = self._answered = 0
    self._seconds, self._failed = 0.0, None
    self._answers = True  # whether anything served since the last request

  def coming(self) -> float:
    return self._times[self._next]

  def next_repair(self, policy: Policy, at: float) -> float:
    """When the next one begins if nobody asks before."""
    if not self._open:
      return np.inf
    if policy.kind == 'at once':
      return at
    if policy.kind == 'window':
      return policy.window * np.ceil(at / policy.window)
    if policy.kind == 'when dead' and not any(self._served):
      return at
    return np.inf

  def arrive(self) -> None:
    """The next request takes effect."""
    at, (shard, part, rows) = self.coming(), self._who[self._next]
    self._counts[shard][part] -= rows
    self._alive[shard] &= ~self._holds[part]
    self._touched[shard] |= self._holds[part]
    self._open.append(self._next)
    self._next += 1
    self._answers = False
    self._serve(at)
    if not self._answers and self._failed is None:
      self._failed = self._next

  def repair(self, begin: float) -> float:
    """Trains until nothing is missing; when that is."""
    at, stages, samples = begin, self._trained, self._samples
    while True:
      plan = [
        (stage, shard)
        for stage in range(len(self._stages))
        for shard, alive in enumerate(self._alive)
        if not alive >> stage & 1
      ]
      if not plan:
        break
      at = self._train(plan, at)
    self._waits[self._open] = at - self._asked.times[self._open]
    self._open.clear()
    done = (self._trained - stages, self._samples - samples)
    self._repairs.append(Repair(begin, at, *done))
    return at

  def _train(self, plan: list[tuple[int, int]], at: float) -> float:
    """Carries out a plan as far as it stays valid; when that ends."""
    profile = self._profile
    rows = [
      sum(self._counts[s][p] for p in self._stages[i][1]) for i, s in plan
    ]
    self._touched = [0] * profile.shards
    before = profile.before_steps(len({shard for _, shard in plan}))
    at += before
    self._seconds += before
    if self._arrivals(at):
      return at  # old before anything was sent
    end, old = len(plan) - 1, None
    for number, (stage, shard) in enumerate(plan):
      seconds = profile.seconds(self._stages[stage][0], rows[number])
      samples = profile.epochs * rows[number]
      at += seconds
      self._seconds += seconds
      self._samples += samples
      self._trained += 1
      # Of an old plan nothing new is finished, unless all of it had been sent.
      kept = old is None or old == end
      news = self._arrivals(at)
      if kept and not self._touched[shard] >> stage & 1:
        self._alive[shard] |= 1 << stage
      else:
        self._wasted += samples
      if old is None and news:
        old = min(number + _AHEAD, end)
      if number == old:
        break
    if number == end:
      self._serve(at)
    return at

  def _arrivals(self, until: float) -> bool:
    before = self._next
    while self.coming() <= until:
      self.arrive()
    return self._next > before

  def _serve(self, at: float) -> None:
    """Every shard answers with the longest prefix that is there."""
    # Stages are in order of depth: the highest bit is the deepest.
    self._served = [
      self._stages[alive.bit_length() - 1][0] if alive else 0
      for alive in self._alive
    ]
    self._changes.append((at, tuple(self._served)))
    if any(self._served) and not self._answers:
      self._answers = True
      self._answered += 1

  def history(self) -> History:
    times, depths = zip(*self._changes, strict=True)
    return History(
      times=list(times),
      depths=list(depths),
      waits=self._waits,
      repairs=self._repairs,
      samples=self._samples,
      wasted=self._wasted,
      seconds=self._seconds,
      answered=self._answered,
      failed=self._failed,
    )
