"""Noise in place of effects: what a method must beat to have said anything."""

import jax
import numpy as np

from unlearn_jax import keys
from unlearn_jax.attributors import _additive


def make(*, scale: float = 1.0, seed: int = 0):
  """Independent normal effects on the margin, of standard deviation `scale`."""

  def attribute(setting):
    key = keys.stream(keys.root(seed), 'random scores')
    shape = len(setting.x), len(setting.points)
    scores = scale * np.asarray(jax.random.normal(key, shape), np.float64)
    return _additive.additive('margin', scores)

  return attribute
