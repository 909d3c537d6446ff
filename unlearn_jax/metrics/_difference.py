"""How far a level of each unlearned model is from that of its oracle.

For what has no ideal of its own: an accuracy is as it should be where the
oracle's is the same, and a higher one is no better.
"""

import dataclasses

import numpy as np

from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval, at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference(Paired):
  """Unlearned less oracle, with the levels of both."""

  unlearned: np.ndarray  # [models]
  oracles: np.ndarray  # [models]


def difference(unlearned, oracles, fresh=None) -> Difference:
  """Compares levels [models]; the floor is that of oracles less oracles."""
  found = compare(np.subtract, unlearned, oracles, fresh)
  return Difference(**vars(found), unlearned=unlearned, oracles=oracles)


def binomial_floor(trials: int, rate: float = 0.5) -> Interval:
  """In points, what two models of one `rate` differ by, if they err apart.

  Models that err on the same examples differ by less; seeds that make better
  and worse models add to it. Only oracles tell: their floor is in the result.
  """
  at_least('trials', trials, 1)
  reach = 1.96 * 100 * float(np.sqrt(2 * rate * (1 - rate) / trials))
  return Interval(0.0, -reach, reach)
