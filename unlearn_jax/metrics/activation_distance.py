"""Activation distance: how far probabilities are from the oracle's.

The Euclidean distance of the two vectors, the mean over examples: 0 is ideal,
the root of 2 the most. Oracles disagree about hard examples, so it is read
beside its floor.
"""

import numpy as np

from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval, at_least

IDEAL = 0.0
COST = 'unlearned + oracle'


def measure(*, unlearned, oracles, fresh=None) -> Paired:
  """Compares logits [models, examples, classes]."""
  logits = _outputs.alike(3, unlearned=unlearned, oracles=oracles, fresh=fresh)
  return compare(_distance, *_outputs.each(_outputs.probabilities, logits))


def make():
  """The metric; it has no settings."""
  return measure


null = _outputs.null


def floor(models: int) -> Interval:
  """What so many models of `null` show; real oracles are in the result."""
  at_least('models', models, 2)
  return measure(**null(0, models=models)).floor


def _distance(p, q):
  return np.linalg.norm(p - q, axis=2).mean(axis=1)
