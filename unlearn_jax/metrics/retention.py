"""Retention: what part of the oracle's accuracy a model has, split by split.

RetDev, the value, is the sum of |1 - retention| over the forget, retain and
test sets (after its description; no public code was compared). An oracle that
is always wrong on a split, as on a forgotten class, leaves it undefined.
"""

import dataclasses

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _panel
from unlearn_jax.metrics._paired import Paired, compare, mean
from unlearn_jax.metrics._words import Interval

IDEAL = 0.0
COST = 'unlearned + oracle'
SPLITS = ('forget', 'retain', 'test')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retention(Paired):
  """RetDev, and the retention of each split (1 is the oracle's)."""

  retention: dict[str, Interval]


def measure(*, unlearned, oracles, fresh=None) -> Retention:
  """RetDev of panels [models, 4]: UA, MIA, RA and TA in points."""
  unlearned, oracles, fresh = (
    None if panel is None else _accuracies(panel)
    for panel in _panel.checked(
      unlearned=unlearned, oracles=oracles, fresh=fresh
    )
  )
  undefined = np.argwhere(oracles == 0)
  if len(undefined):
    model, split = undefined[0]
    raise errors.DataError(
      f'oracle {model} is never right on the {SPLITS[split]} set: there is no '
      'part of that to retain'
    )
  found = compare(_deviation, unlearned, oracles, fresh)
  parts = map(mean, (unlearned / oracles).T)
  return Retention(
    **vars(found), retention=dict(zip(SPLITS, parts, strict=True))
  )


def make():
  """The metric; it has no settings."""
  return measure


null = _panel.null


def floor(trials: int, **sizes_and_rates) -> Interval:
  """What models of equal rates show, as the floor of the gap."""
  pair = map(_accuracies, _panel.sampled(trials, **sizes_and_rates))
  return _panel.summary(_deviation(*pair))


def _accuracies(panel):
  """[models, 3] from the columns UA, RA and TA."""
  return np.abs(panel[:, (0, 2, 3)] - np.array([[100.0, 0, 0]]))


def _deviation(unlearned, oracles):
  return np.abs(1 - unlearned / oracles).sum(axis=1)
