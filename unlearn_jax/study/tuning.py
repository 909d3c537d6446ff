"""One budget for every method: its defaults, and draws from its own ranges.

A method says in `TUNED` which of its numbers matter and between what bounds;
every method gets as many trials, on models and on a forget set that are in no
table. What is best is what comes nearest to oracles of that set, so rows say
that oracles, though never those that judge, were used.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.stats

from unlearn_jax import errors, registry


def trials(
  name: str, given: Mapping[str, Any], count: int, seed: int = 0
) -> list[dict[str, float]]:
  """`count` settings to try; what is `given` is fixed.

  The first are the defaults. The others are quasi-random and log-uniform
  between the bounds, so a few of them spread over all of it.
  """
  if count < 1:
    raise errors.ConfigError(f'trials is at least 1, got {count}')
  bounds = getattr(registry.get('unlearners', name), 'TUNED', {})
  bounds = {key: pair for key, pair in bounds.items() if key not in given}
  if not bounds:
    return [{}]
  low, high = np.log(np.array(list(bounds.values()), float)).T
  points = scipy.stats.qmc.Halton(len(bounds), rng=seed).random(count - 1)
  drawn = np.exp(low + (high - low) * points)
  return [{}] + [
    dict(zip(bounds, map(float, row), strict=True)) for row in drawn
  ]


def best(
  candidates: list[dict[str, float]],
  distance: Callable[[dict[str, float]], float],
) -> tuple[dict[str, float], list[float]]:
  """The candidate nearest to retraining, and how near each came.

  A trial that diverged is infinitely far; if all did, nothing is chosen.
  """
  found = [distance(candidate) for candidate in candidates]
  found = [value if np.isfinite(value) else np.inf for value in found]
  if np.isinf(found).all():
    raise errors.TrainingDiverged(f'all of {len(found)} trials diverged')
  return candidates[int(np.argmin(found))], found
