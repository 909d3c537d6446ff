"""Interclass confusion: are two classes still mixed up that were swapped?

A part of the classes A and B was trained with each other's label, and is to be
forgotten. IC-ERR, the value, is the share in points of test examples of A and
B that are taken for the other; Fgt-ERR is how many examples of the forget set
are, by their true labels. Both against the oracle, which confuses some too.
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
  """Logits [models, examples, classes] of each split."""

  test: np.ndarray
  forget: np.ndarray


class Labels(NamedTuple):
  """True labels [examples] of each split."""

  test: np.ndarray
  forget: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion(Difference):
  """IC-ERR, and Fgt-ERR beside it."""

  forget: Difference  # numbers of examples


def measure(*, unlearned, oracles, labels, classes, fresh=None) -> Confusion:
  """Compares `Outputs`, given `Labels` and the two classes that were swapped."""
  first, second = classes
  if first == second:
    raise errors.DataError(f'two classes are swapped, got {first} twice')
  wrong, sizes = {}, {}
  for split in Outputs._fields:
    sides = _outputs.of_split(
      split, unlearned=unlearned, oracles=oracles, fresh=fresh
    )
    y = _outputs.labels(f'{split} labels', getattr(labels, split), sides[0])
    other = np.where(y == first, second, np.where(y == second, first, -1))
    sizes[split] = np.sum(other >= 0, axis=1)
    if not sizes[split].all():
      raise errors.DataError(
        f'the {split} set has no example of the classes {classes}'
      )
    wrong[split] = _outputs.each(
      lambda x, other=other: np.sum(np.argmax(x, axis=2) == other, axis=1),
      sides,
    )
  rates = _outputs.each(lambda x: 100 * x / sizes['test'], wrong['test'])
  return Confusion(
    **vars(difference(*rates)), forget=difference(*wrong['forget'])
  )


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8, examples: int = 100) -> dict:
  """Models that only differ by chance."""
  same = _outputs.null_of_splits(
    seed, Outputs, Labels, models=models, examples=examples
  )
  return {**same, 'classes': (0, 1)}


floor = binomial_floor
