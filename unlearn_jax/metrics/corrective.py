"""Corrective accuracy: is what bad data broke right again?

Acc_corr, the value, is the accuracy in points by true labels where the bad
data had its effect: test images with the trigger, or test points of classes
that were swapped. Acc_retain is that of the rest of the test set. Both against
the oracle, or a clean model in its place.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._difference import (
  Difference,
  binomial_floor,
  difference,
)

IDEAL = 0.0
COST = 'unlearned + oracle'


class Outputs(NamedTuple):
  """Logits [models, examples, classes] of each part of the test set."""

  affected: np.ndarray
  rest: np.ndarray


class Labels(NamedTuple):
  """True labels [examples] of each part."""

  affected: np.ndarray
  rest: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrective(Difference):
  """Acc_corr, and Acc_retain beside it."""

  retain: Difference


def measure(*, unlearned, oracles, labels, fresh=None) -> Corrective:
  """Compares `Outputs`, given true `Labels`."""

  def accuracy(part):
    sides = _outputs.of_split(
      part, unlearned=unlearned, oracles=oracles, fresh=fresh
    )
    y = _outputs.labels(f'{part} labels', getattr(labels, part), sides[0])
    return difference(
      *_outputs.each(
        lambda x: 100 * np.mean(_outputs.right(x, y), axis=1), sides
      )
    )

  return Corrective(**vars(accuracy('affected')), retain=accuracy('rest'))


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8, examples: int = 100) -> dict:
  """Models that only differ by chance."""
  return _outputs.null_of_splits(
    seed, Outputs, Labels, models=models, examples=examples
  )


floor = binomial_floor
