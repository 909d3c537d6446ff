"""The average gap: how far UA, MIA, RA and TA are from the oracle's, in points.

The mean of four absolute differences. It averages unlike quantities, UA and
MIA are nearly one signal counted twice, and it is never 0 between oracles
(sampling alone gives .30 with 4,500 forgotten and 10,000 test examples): it is
read beside its floor and the four signed terms.
"""

import dataclasses

import numpy as np

from unlearn_jax.metrics import _panel
from unlearn_jax.metrics._paired import Paired, compare, mean
from unlearn_jax.metrics._words import Interval

IDEAL = 0.0
COST = 'unlearned + oracle'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap(Paired):
  """The gap, and the terms that it hides."""

  terms: dict[str, Interval]  # unlearned less oracle, the mean over models
  signed: np.ndarray  # [models, 4] the same of each model


def measure(*, unlearned, oracles, fresh=None) -> Gap:
  """The gap of panels [models, 4]: UA, MIA, RA and TA in points."""
  unlearned, oracles, fresh = _panel.checked(
    unlearned=unlearned, oracles=oracles, fresh=fresh
  )
  found = compare(_gap, unlearned, oracles, fresh)
  signed = unlearned - oracles
  terms = dict(zip(_panel.TERMS, map(mean, signed.T), strict=True))
  return Gap(**vars(found), terms=terms, signed=signed)


def make():
  """The metric; it has no settings."""
  return measure


null = _panel.null


def floor(trials: int, **sizes_and_rates) -> Interval:
  """What models of equal rates show: the mean, and its P5 and P95.

  `sizes` and `rates` of the four terms are `trials` and those of retraining on
  CIFAR-10 where they are not given.
  """
  return _panel.summary(_gap(*_panel.sampled(trials, **sizes_and_rates)))


def _gap(unlearned, oracles):
  return np.abs(unlearned - oracles).mean(axis=1)
