"""Sequences that together cover the likely sets of hit slices.

The value of some sequences is the expected worth of the longest live prefix
among them. Adding one never hurts and helps less the more there are, so the
greedy choice is good, and each of its steps can be solved exactly.
"""

from collections.abc import Sequence

import numpy as np

from unlearn_jax import errors
from unlearn_jax.exact import hit_sets


def expected_value(
  sequences: Sequence[Sequence[int]],
  *,
  prior: Sequence[float] | None = None,
  horizon: int = 100,
  value: Sequence[float] | None = None,
) -> float:
  """What `greedy` makes large: sum_H w(H) F(longest live prefix under H).

  w is the law of the hit set averaged over 0..horizon requests, F is `value`.
  """
  slices = len(sequences[0])
  prior, value = hit_sets.check_prior(prior, slices), check_value(value, slices)
  lengths = hit_sets.live_lengths(sequences, hit_sets.every(slices))
  return float(hit_sets.mean_law(prior, horizon) @ value[lengths])


def greedy(
  budget: int,
  *,
  prior: np.ndarray,
  horizon: int = 100,
  value: Sequence[float] | None = None,
) -> list[tuple[int, ...]]:
  """Adds the order of largest gain in `expected_value`, again and again.

  The objective is monotone and submodular, so this is within 1 - 1/e of the
  best. It ends early once nothing can be gained.
  """
  value = check_value(value, len(prior))
  hits = hit_sets.every(len(prior))
  law = hit_sets.mean_law(prior, horizon)
  worth = np.zeros(hits.size)  # of the best chosen order, for every hit set
  chosen = []
  while len(chosen) < budget:
    order, gain = _best_order(law, worth, value)
    # No rounding hides here: a chosen order gains a sum of exact zeros.
    if gain <= 0.0:
      break
    chosen.append(order)
    reached = value[hit_sets.live_lengths([order], hits)]
    worth = np.maximum(worth, reached)
  return chosen


def check_value(value: Sequence[float] | None, slices: int) -> np.ndarray:
  """[L + 1] float worths, or an error that says what is wrong."""
  if value is None:
    return np.arange(slices + 1.0)
  given, value = value, np.asarray(value, float)
  if (
    value.shape != (slices + 1,) or value[0] or not (np.diff(value) >= 0).all()
  ):
    raise errors.ConfigError(
      f'value {given}: it must be {slices + 1} numbers, the first 0, none '
      f'smaller than the one before'
    )
  return value


def _best_order(
  law: np.ndarray, worth: np.ndarray, value: np.ndarray
) -> tuple[tuple[int, ...], float]:
  """The order of largest gain, and the gain; exact, without listing L! orders.

  With A_k the set of the first k slices, an order gains sum_k G_k(A_k), where
  G_k(A) = sum over H disjoint from A of
  law(H) (max(0, F(k) - worth(H)) - max(0, F(k - 1) - worth(H))).
  Subset sums give all G_k(A) (H is a subset of the complement), and a dynamic
  program over the sets gives the best chain of them.
  """
  slices = len(value) - 1
  above = np.maximum(value[:, None] - worth, 0.0)
  # The complement of a set is its index counted from the end.
  gains = hit_sets.subset_sums(law * np.diff(above, axis=0))[:, ::-1]
  bits = 1 << np.arange(slices)[::-1]  # ties: the highest slice last
  sets = np.arange(law.size)
  sizes = np.bitwise_count(sets)
  best, last = np.zeros(law.size), np.zeros(law.size, int)
  for size in range(1, slices + 1):
    layer = sets[sizes == size]
    holds = (layer[:, None] & bits) != 0
    before = np.where(holds, best[layer[:, None] & ~bits], -np.inf)
    best[layer] = before.max(axis=1) + gains[size - 1, layer]
    last[layer] = slices - 1 - before.argmax(axis=1)
  order, left = [], law.size - 1
  while left:
    order.append(int(last[left]))
    left &= ~(1 << order[-1])
  return tuple(reversed(order)), float(best[-1])
