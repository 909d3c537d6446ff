"""Orders in which a shard learns its slices, and how to choose them.

A sequence is a tuple of 0-based slice indices. A deletion in slice j cuts a
sequence off before j, and a shard serves its longest live prefix; so a good
choice keeps, for the likely sets of hit slices, some sequence that has them
all late. `p_j` is the probability that a request hits slice j.
"""

import itertools
import math
import operator
from collections.abc import Collection, Sequence

import numpy as np
from scipy import optimize

from unlearn_jax import errors, keys
from unlearn_jax.exact import coverage, hit_sets

KINDS = ('cyclic', 'matching', 'sampling', 'greedy', 'given')

# Rejection of duplicates ends here: draws for each sequence wanted.
_MAX_DRAWS = 1000

# Far above rounding, far below any difference in score that matters.
_TIE_BREAK = 1e-9

Order = tuple[int, ...]


def make(
  kind: str,
  *,
  slices: int,
  budget: int,
  prior: Sequence[float] | None = None,
  horizon: int = 100,
  value: Sequence[float] | None = None,
  seed: int = 0,
  given: Sequence[Sequence[int]] | None = None,
) -> tuple[Order, ...]:
  """The sequences of a shard, best or first come first.

  Args:
    kind: 'cyclic' (rotations; for a uniform prior), 'matching' (few sequences,
      known prior), 'sampling' (any number, likely hits late), 'greedy' (the
      largest `coverage.expected_value`, up to 16 slices; then rotations) or
      'given'. A kind ignores the arguments that are not about it.
    slices: L.
    budget: how many sequences, 1..L! (matching: 1..L).
    prior: [L] p_j, at most 1 in sum; None is uniform, all on this shard.
    horizon: requests to prepare for (matching, greedy).
    value: [L + 1] what a live prefix of 0..L slices is worth (greedy); starts
      at 0, does not fall; None is its length.
    seed: of the draws (sampling).
    given: the sequences themselves.
  """
  if kind not in KINDS:
    raise errors.unknown_name('kind of sequences', kind, KINDS)
  _check_budget(budget, slices)
  prior = hit_sets.check_prior(prior, slices)
  _check_horizon(horizon)
  if kind == 'cyclic':
    chosen = _cyclic(slices, budget)
  elif kind == 'matching':
    chosen = _matching(slices, budget, prior, horizon)
  elif kind == 'sampling':
    chosen = _sampling(slices, budget, prior, seed)
  elif kind == 'greedy':
    chosen = coverage.greedy(budget, prior=prior, horizon=horizon, value=value)
    spare = (order for order in _cyclic(slices, budget) if order not in chosen)
    chosen += itertools.islice(spare, budget - len(chosen))
  else:
    chosen = given if given is not None else ()
  chosen = validate(chosen, slices)
  if len(chosen) != budget:
    raise errors.ConfigError(
      f'{len(chosen)} sequences for a budget of {budget}: they must agree'
    )
  return chosen


def validate(
  sequences: Sequence[Sequence[int]], slices: int
) -> tuple[Order, ...]:
  """`sequences` as tuples, or an error that names the one that is wrong."""
  numbers: dict[Order, int] = {}
  for number, order in enumerate(sequences):
    try:
      order = tuple(map(operator.index, order))
      right = sorted(order) == list(range(slices))
    except TypeError:
      right = False
    if not right:
      raise errors.ConfigError(
        f'sequence {number} is {order!r}: it must hold each of the slices '
        f'0..{slices - 1} once'
      )
    if order in numbers:
      raise errors.ConfigError(
        f'sequence {number} repeats sequence {numbers[order]}, {order}: '
        f'sequences must differ'
      )
    numbers[order] = number
  _check_budget(len(numbers), slices)
  return tuple(numbers)


def score(order: Sequence[int], prior: Sequence[float], t: int) -> float:
  """sum_i i (1 - p_{o_1} - .. - p_{o_i})^t: E[K (K + 1) / 2] after t requests.

  K is the live length. Longer prefixes count more than in E[K], which is the
  same sum without the factor i (S3T, arXiv 2406.16257, calls this one it).
  """
  taken = np.cumsum(np.asarray(prior, float)[list(order)])
  missed = np.maximum(1.0 - taken, 0.0) ** t
  return float(np.arange(1, len(order) + 1) @ missed)


def live_length(order: Sequence[int], hits: Collection[int]) -> int:
  """Slices of `order` before the first that is among `hits`."""
  return next((k for k, j in enumerate(order) if j in hits), len(order))


def _cyclic(slices: int, budget: int) -> list[Order]:
  """Iterative rotation: right rotations of everything, then of suffixes.

  Up to L sequences no slice stands twice at one position; at n = L - 2 every
  permutation has appeared.
  """
  orders = _rotations(tuple(range(slices)))
  for kept in itertools.count(1):
    if len(orders) >= budget:
      return orders[:budget]
    # The first rotation is the order itself, which is there already.
    orders += [
      order[:kept] + suffix
      for order in orders
      for suffix in _rotations(order[kept:])[1:]
    ]


def _rotations(order: Order) -> list[Order]:
  return [order[-n:] + order[:-n] for n in range(len(order))]


def _matching(
  slices: int, budget: int, prior: np.ndarray, horizon: int
) -> list[Order]:
  """L sequences grown one position at a time; the `budget` best by score.

  At each position every sequence takes another slice: the assignment of
  largest total score of the extended sequences. What a sequence scored before
  is the same for all its extensions, so only the new term is compared (which
  is also more exact: the terms fall by orders of magnitude). Ties are common
  (two orders of one set of slices always tie) and would be broken by rounding;
  here the sequence that is ahead goes on best.
  """
  if budget > slices:
    raise errors.ConfigError(
      f'budget {budget}: matching makes at most one sequence a slice, {slices}'
    )
  orders = [(j,) for j in range(slices)]
  for _ in range(slices - 1):
    taken = np.array([prior[list(order)].sum() for order in orders])
    missed = np.maximum(1.0 - taken[:, None] - prior, 0.0)
    ahead = np.argsort(
      [-score(o, prior, horizon) for o in orders], kind='stable'
    )
    favor = np.empty(slices)
    favor[ahead] = 1.0 + _TIE_BREAK * np.arange(slices, 0, -1)
    gain = favor[:, None] * missed**horizon
    for row, order in enumerate(orders):
      gain[row, list(order)] = -np.inf  # never chosen; one is always left
    _, following = optimize.linear_sum_assignment(gain, maximize=True)
    orders = [
      (*order, int(j)) for order, j in zip(orders, following, strict=True)
    ]
  orders.sort(key=lambda order: -score(order, prior, horizon))
  return orders[:budget]


def _sampling(
  slices: int, budget: int, prior: np.ndarray, seed: int
) -> list[Order]:
  """Slices drawn without replacement, weights 1 - p_j; duplicates rejected.

  A race of exponential clocks with these rates finishes in such an order.
  Draw n is a function of seed and n, so a larger budget only adds sequences.
  """
  rates = 1.0 - np.minimum(prior, 1.0)
  chosen: dict[Order, None] = {}
  for first in range(0, _MAX_DRAWS * budget, budget):
    words = np.arange(first * slices, (first + budget) * slices)
    clocks = -np.log1p(-keys.fraction(words, f'sequences/{seed}'))
    # A slice of rate 0 comes last, after clocks that do run.
    times = np.full((budget, slices), np.inf)
    np.divide(clocks.reshape(budget, slices), rates, out=times, where=rates > 0)
    for order in np.argsort(times, axis=1, kind='stable').tolist():
      chosen.setdefault(tuple(order))
      if len(chosen) == budget:
        return list(chosen)
  raise errors.ConfigError(
    f'budget {budget}: {_MAX_DRAWS * budget} draws under prior '
    f'{prior.tolist()} gave only {len(chosen)} different sequences'
  )


def _check_budget(budget: int, slices: int) -> None:
  if slices < 1:
    raise errors.ConfigError(f'slices {slices}: a shard has at least one')
  if not 1 <= budget <= math.factorial(slices):
    raise errors.ConfigError(
      f'budget {budget}: {slices} slices have 1..{math.factorial(slices)} '
      f'different orders'
    )


def _check_horizon(horizon: int) -> None:
  if horizon < 0:
    raise errors.ConfigError(f'horizon {horizon}: at least 0 requests')
