"""Verification error: how far parameters are from the oracle's; historic.

The Euclidean distance of all parameters (statistics left out), over the mean
distance of two oracles, so 1 is what retraining with another seed gives. Only
a run of the very same seed and order comes near 0, and the same function has
many parameters: a small distance proves little and a large one nothing.
"""

import dataclasses

import numpy as np

from unlearn_jax import errors, trees, types
from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval, at_least, numbers

IDEAL = 0.0
COST = 'unlearned + oracle'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance(Paired):
  """The relative distance, and what it is relative to."""

  between_oracles: float  # the mean distance of two, in parameters


def measure(*, unlearned, oracles, fresh=None) -> Distance:
  """Compares pytrees of parameters, leaves [models, ...]."""
  unlearned, oracles, fresh = (
    None if params is None else _checked(name, params)
    for name, params in [
      ('unlearned', unlearned),
      ('oracles', oracles),
      ('fresh', fresh),
    ]
  )
  shapes = [
    {path: leaf.shape for path, leaf in params.items()}
    for params in (unlearned, oracles, fresh)
    if params is not None
  ]
  for other in shapes[1:]:
    if other != shapes[0]:
      raise errors.DataError(
        f'parameters must have the same leaves, got {shapes[0]} and {other}'
      )
  found = compare(_distance, unlearned, oracles, fresh)
  unit = found.floor.value
  if not unit:
    raise errors.DataError('oracles are all the same: they give no scale')
  return Distance(
    value=_scaled(found.value, unit),
    floor=_scaled(found.floor, unit),
    per_model=found.per_model / unit,
    per_pair=found.per_pair / unit,
    models=found.models,
    between_oracles=unit,
  )


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8, parameters: int = 200) -> dict:
  """Parameters of models that only differ by chance."""
  draw = np.random.default_rng(seed).normal
  return {
    name: draw(size=(models, parameters)) for name in ('unlearned', 'oracles')
  }


def floor(models: int) -> Interval:
  """What so many models of `null` show; real oracles are in the result."""
  at_least('models', models, 2)
  return measure(**null(0, models=models)).floor


def _checked(name, params) -> dict[str, np.ndarray]:
  """The leaves that are no statistics, by path, each as [models, numbers]."""
  leaves, _ = trees.partition(params, types.not_stats)
  found = {}
  for path, leaf in leaves.items():
    leaf = np.asarray(leaf)
    leaf = numbers(
      f'{name} {path}'.strip(), leaf, max(1, leaf.ndim), finite=True
    )
    found[path] = leaf.reshape(len(leaf), -1)
  return found


def _distance(first, second) -> np.ndarray:
  squares = (
    np.sum((np.float64(first[path]) - second[path]) ** 2, axis=1)
    for path in first
  )
  return np.sqrt(sum(squares))


def _scaled(interval: Interval, unit: float) -> Interval:
  return Interval(*(x / unit for x in interval))
