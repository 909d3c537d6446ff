"""Disagreement: the share of examples given another class than the oracle's.

0 is ideal and out of reach: two oracles disagree as well.
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
  answers = _outputs.each(lambda x: np.argmax(x, axis=2), logits)
  return compare(lambda a, b: np.mean(a != b, axis=1), *answers)


def make():
  """The metric; it has no settings."""
  return measure


null = _outputs.null


def floor(models: int) -> Interval:
  """What so many models of `null` show; real oracles are in the result."""
  at_least('models', models, 2)
  return measure(**null(0, models=models)).floor
