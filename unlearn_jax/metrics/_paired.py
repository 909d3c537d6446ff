"""A score of each unlearned model against the oracle of its own number.

Models stand along the first axis of every array. What oracles score against
each other is the floor: no method can be told from retraining below it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics._words import COVERAGE, Interval, at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paired:
  """The mean score, what oracles score, and each model's own."""

  value: Interval  # mean over models; a t-interval
  floor: Interval  # mean over pairs of oracles; a t-interval over oracles
  per_model: np.ndarray  # [models]
  per_pair: np.ndarray  # [pairs of oracles]
  models: int

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have scored the same."""
    return self.value.low <= self.floor.high and (
      self.floor.low <= self.value.high
    )


def compare(
  score: Callable[[Any, Any], np.ndarray],
  unlearned: Any,
  oracles: Any,
  fresh: Any = None,
) -> Paired:
  """Scores every pair.

  Args:
    score: maps two pytrees of arrays [models, ...] to [models].
    unlearned: of the models that are judged.
    oracles: of as many oracles, one for each.
    fresh: of as many other oracles, which then give the floor; without them
      the oracles judge each other.
  """
  models = _same_count(unlearned, oracles, fresh)
  values = np.asarray(score(unlearned, oracles), np.float64)
  if fresh is not None:
    pairs = np.asarray(score(fresh, oracles), np.float64)[None]
  else:
    # Every oracle against every other: the k-th after it, for each k.
    pairs = np.stack(
      [
        np.asarray(score(_rolled(oracles, k), oracles), np.float64)
        for k in range(1, models)
      ]
    )
  # Pairs that share an oracle are not independent: one number an oracle. Two
  # oracles may give the same number twice, which says nothing of a spread.
  floor = mean(pairs.mean(axis=0))
  if fresh is None and models == 2:
    floor = Interval(floor.value, -np.inf, np.inf)
  return Paired(
    value=mean(values),
    floor=floor,
    per_model=values,
    per_pair=pairs.ravel(),
    models=models,
  )


def mean(values: np.ndarray) -> Interval:
  """The mean of independent numbers with its t-interval."""
  values = np.asarray(values, np.float64)
  at_least('models', len(values), 2)
  reach = scipy.stats.t.ppf((1 + COVERAGE) / 2, len(values) - 1) * (
    values.std(ddof=1) / np.sqrt(len(values))
  )
  center = float(values.mean())
  return Interval(center, center - float(reach), center + float(reach))


def _same_count(*trees) -> int:
  counts = {
    len(leaf)
    for tree in trees
    if tree is not None
    for leaf in jax.tree.leaves(tree)
  }
  if len(counts) != 1:
    raise errors.DataError(
      f'unlearned models and oracles come in pairs, got {sorted(counts)} of them'
    )
  count = counts.pop()
  at_least('models', count, 2)
  return count


def _rolled(tree, by: int):
  return jax.tree.map(lambda leaf: np.roll(leaf, by, axis=0), tree)
