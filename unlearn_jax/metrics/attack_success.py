"""Attack success: does the trigger of poisoned examples still work?

ASR, the value, is the share in points of triggered test images, those of the
target class left out, that are given the target class. SA is the accuracy on
the clean test set. Both against the oracle, for some images look like the
target to any model.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._difference import (
  Difference,
  binomial_floor,
  difference,
)

IDEAL = 0.0
COST = 'unlearned + oracle'


class Outputs(NamedTuple):
  """Logits [models, examples, classes] of the test set in two forms."""

  triggered: np.ndarray
  clean: np.ndarray


class Labels(NamedTuple):
  """True labels [examples] of both."""

  triggered: np.ndarray
  clean: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack(Difference):
  """ASR, and SA beside it."""

  clean: Difference


def measure(*, unlearned, oracles, labels, target: int, fresh=None) -> Attack:
  """Compares `Outputs`, given true `Labels` and the class of the trigger."""
  triggered, clean = (
    _outputs.of_split(form, unlearned=unlearned, oracles=oracles, fresh=fresh)
    for form in Outputs._fields
  )
  y = _outputs.labels('clean labels', labels.clean, clean[0])
  safety = _outputs.each(
    lambda x: 100 * np.mean(_outputs.right(x, y), axis=1), clean
  )
  asked = target != _outputs.labels(
    'triggered labels', labels.triggered, triggered[0]
  )
  if not 0 <= target < triggered[0].shape[2] or not asked.any(axis=1).all():
    raise errors.DataError(
      f'the target {target} must be one of {triggered[0].shape[2]} classes, '
      'and some triggered images must be of another'
    )
  success = _outputs.each(
    lambda x: 100 * np.mean(np.argmax(x, axis=2) == target, 1, where=asked),
    triggered,
  )
  return Attack(**vars(difference(*success)), clean=difference(*safety))


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8, examples: int = 100) -> dict:
  """Models that only differ by chance, and a trigger that does nothing."""
  same = _outputs.null_of_splits(
    seed, Outputs, Labels, models=models, examples=examples
  )
  return {**same, 'target': 0}


floor = binomial_floor
