"""Which layout and which repair policy: what each gives, and what it costs.

Closed forms (`theory.py`) stand beside a simulation of the same streams on
every choice (`events.py`), with 95 % intervals over the streams. Rotations are
the sequences that are proposed: a keyed hash places who asks, so every slice
is hit with the same probability, and for that prior they are best.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from unlearn_jax import errors
from unlearn_jax.exact import demand as demand_lib
from unlearn_jax.exact import events, theory
from unlearn_jax.exact import sequences as sequences_lib
from unlearn_jax.exact import stages as stages_lib
from unlearn_jax.exact.profile import Profile

_COVERAGE = 0.95
_HOUR = 3600.0


class Choice(NamedTuple):
  """A layout with what was measured of it, orders a shard, when to repair."""

  profile: Profile
  budget: int
  policy: events.Policy

  @property
  def sequences(self) -> tuple[tuple[int, ...], ...]:
    return sequences_lib.make(
      'cyclic', slices=self.profile.slices, budget=self.budget
    )

  def check(self) -> None:
    """Refuses a policy or a number of sequences that cannot be."""
    self.policy.check()
    sequences_lib.validate(self.sequences, self.profile.slices)

  def __str__(self) -> str:
    p = self.profile
    return f'{p.name} {p.shards} x {p.slices} x {self.budget}, {self.policy}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
  """The least a service promises; each a mean over time.

  accuracy: while something serves. depth: live slices over all slices, dead
  shards as 0. availability: part of the time in which some shard serves.
  """

  accuracy: float = 0.0
  depth: float = 0.0
  availability: float = 0.0

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      if not 0 <= value <= 1:
        raise errors.ConfigError(f'{name} is from 0 to 1, got {value!r}')

  def met_by(self, row: Mapping[str, Any]) -> bool:
    """Whether it is kept even at the low end of the intervals."""
    return all(
      float(row[name]['low']) >= least
      for name, least in dataclasses.asdict(self).items()
    )


def choices(
  profiles: Iterable[Profile],
  budgets: Sequence[int],
  policies: Sequence[events.Policy],
) -> list[Choice]:
  """Every profile with every policy and as many sequences as it may have."""
  for policy in policies:
    policy.check()
  wrong = [b for b in budgets if not isinstance(b, int) or b < 1]
  if wrong or not budgets:
    raise errors.ConfigError(
      f'budgets are whole numbers >= 1, at least one, got {list(budgets)}'
    )
  found = [
    Choice(profile, budget, policy)
    for profile in profiles
    for budget in sorted({min(b, profile.slices) for b in budgets})
    for policy in policies
  ]
  if not found:
    raise errors.ConfigError('nothing to choose from: name profiles, policies')
  return found


def streams(
  demand: demand_lib.Demand, *, requests: int, count: int, seed: int
) -> list[demand_lib.Stream]:
  """What all choices are compared on."""
  if count < 2:
    raise errors.ConfigError(f'streams {count}: at least 2, for intervals')
  return [
    demand_lib.Stream(demand, requests, (seed, number))
    for number in range(count)
  ]


def evaluate(
  choice: Choice,
  demand: demand_lib.Demand,
  drawn: Sequence[demand_lib.Stream],
) -> dict[str, Any]:
  """What a choice gives and costs on the `drawn` streams, as plain JSON."""
  profile, orders = choice.profile, choice.sequences
  each = []
  for stream in drawn:
    asked = stream.on(profile.shards, profile.slices)
    past = events.follow(profile, orders, choice.policy, asked)
    each.append(_measured(choice, demand, asked, past))
  row = {
    'choice': str(choice),
    'profile': profile.name,
    'shards': profile.shards,
    'slices': profile.slices,
    'sequences': choice.budget,
    'policy': str(choice.policy),
    'bytes': _bytes(choice),
    'training_samples': training_samples(choice, demand.examples),
    'training_hours': _training_seconds(choice, demand.examples) / _HOUR,
  }
  for name in each[0]:
    row[name] = interval([one[name] for one in each])
  row['formula'] = formulas(choice, demand, len(asked.times))
  return row


def formulas(
  choice: Choice, demand: demand_lib.Demand, requests: int
) -> dict[str, float]:
  """Closed forms of the same, where there is one.

  Samples are for repairs that are over before somebody else asks; the deletion
  rate is without any repair.
  """
  profile, orders = choice.profile, choice.sequences
  layout = {'shards': profile.shards, 'slices': profile.slices}
  mean, sd = theory.deletion_rate(**layout, budget=choice.budget)
  found = {
    'deletions_until_failure_without_repair': mean,
    'sd_of_one_stream': sd,
    'depth_after_one_request': theory.depth_after_one_hit(
      **layout, budget=choice.budget
    ),
  }
  # Rows leave on the way: the mean of a stream is that of its middle.
  left = demand.examples - demand.rows_a_request * (requests + 1) / 2
  if choice.policy.kind in ('at once', 'window'):
    rows = _rows_a_request(choice, orders, left, demand.rate)
    found['samples_a_request'] = profile.epochs * rows
  return found


def propose(rows: Sequence[Mapping[str, Any]], level: Level) -> int | None:
  """Which of the evaluated choices: the cheapest that keeps the level.

  By device time a served request, then bytes; None if none keeps it.
  """
  kept = [i for i, row in enumerate(rows) if level.met_by(row)]
  return min(kept, key=lambda i: _price(rows[i]), default=None)


def undominated(rows: Sequence[Mapping[str, Any]]) -> list[int]:
  """Those that no other choice beats or equals in all, and beats in one.

  In device time a served request, bytes, accuracy, depth and availability.
  """
  better = np.array(
    [
      [*(-v for v in _price(row)), *(_mean(row, name) for name in _GOOD)]
      for row in rows
    ]
  )
  return [
    i
    for i, mine in enumerate(better)
    if not ((better >= mine).all(axis=1) & (better > mine).any(axis=1)).any()
  ]


def interval(values: Sequence[float]) -> dict[str, float]:
  """Mean, with the 95 % interval of Student's t, and sd of one stream.

  Without a finite value there is no mean: all of them are NaN.
  """
  values = np.asarray(values, float)
  finite = values[np.isfinite(values)]
  if not len(finite):
    return dict.fromkeys(('mean', 'low', 'high', 'sd'), float('nan'))
  mean = float(finite.mean())
  sd = float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
  reach = stats.t.ppf((1 + _COVERAGE) / 2, max(len(finite) - 1, 1))
  half = float(reach) * sd / np.sqrt(len(finite))
  return {'mean': mean, 'low': mean - half, 'high': mean + half, 'sd': sd}


def training_samples(choice: Choice, examples: int) -> int:
  """Rows passed while the whole system is trained."""
  depths = [s.depth for s in stages_lib.wanted(1, choice.sequences)]
  p = choice.profile
  return round(p.epochs * examples * sum(depths) / p.slices)


_GOOD = ('accuracy', 'depth', 'availability')


def _price(row) -> tuple[float, float]:
  cost = float(row['hours_a_served_request']['mean'])
  return (cost if np.isfinite(cost) else np.inf), row['bytes']


def _mean(row, name: str) -> float:
  value = float(row[name]['mean'])  # of JSON it may be a word
  return value if np.isfinite(value) else -np.inf


def _measured(choice, demand, asked, past: events.History) -> dict[str, float]:
  """Numbers of one stream."""
  profile, requests = choice.profile, len(asked.times)
  whole = profile.shards * profile.slices
  training = _training_seconds(choice, demand.examples)
  waits = past.waits[np.isfinite(past.waits)]
  served = past.answered
  hours = (training + past.seconds) / _HOUR
  return {
    'availability': past.mean(lambda d: float(any(d)), asked.end),
    'depth': past.mean(lambda d: sum(d) / whole, asked.end),
    'accuracy': past.mean(profile.worth, asked.end),
    'samples_a_request': past.samples / requests,
    'wasted_a_request': past.wasted / requests,
    'repair_hours_a_request': past.seconds / _HOUR / requests,
    # Training is paid for by those who were served afterwards.
    'hours_a_served_request': hours / served if served else np.inf,
    'served_requests': served / requests,
    # At least: a stream that lives to its end tells no more.
    'deletions_until_failure': past.failed or requests,
    'survived': float(past.failed is None),
    'seconds_until_repaired': waits.mean() if len(waits) else np.nan,
  }


def _rows_a_request(choice, orders, left: float, rate: float) -> float:
  shards = choice.profile.shards

  def rows(requests):
    return theory.rows_of_repair(
      orders, records=left, shards=shards, requests=requests
    )

  if choice.policy.kind == 'at once':
    return rows(1)
  # Of requests in a window, each number with its probability.
  mean = rate * choice.policy.window / demand_lib.DAY
  most = int(stats.poisson.ppf(1 - 1e-9, mean)) + 1
  number = np.arange(1, most + 1)
  weights = stats.poisson.pmf(number, mean)
  return float(weights @ [rows(int(k)) for k in number]) / mean


def _bytes(choice: Choice) -> float:
  return sum(
    choice.profile.stage_bytes[stage.depth - 1]
    for stage in stages_lib.wanted(choice.profile.shards, choice.sequences)
  )


def _training_seconds(choice: Choice, examples: int) -> float:
  p = choice.profile
  return sum(
    p.seconds(s.depth, round(examples * s.depth / (p.shards * p.slices)))
    for s in stages_lib.wanted(p.shards, choice.sequences)
  )
