"""ToW, the tug of war: one less each difference to the oracle, multiplied.

The product of 1 - |acc - oracle's acc| over the forget, retain and test sets,
accuracies in [0, 1]; 1 is ideal, and oracles stay below it among each other.
ToW-MIA takes the attack in place of the forget accuracy.
"""

import dataclasses

import numpy as np

from unlearn_jax.metrics import _panel
from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval

IDEAL = 1.0
COST = 'unlearned + oracle'
_TOW, _TOW_MIA = (0, 2, 3), (1, 2, 3)  # columns of a panel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tow(Paired):
  """ToW, and with the attack instead of the forget accuracy."""

  mia: Paired


def measure(*, unlearned, oracles, fresh=None) -> Tow:
  """The ToW of panels [models, 4]: UA, MIA, RA and TA in points."""
  panels = _panel.checked(unlearned=unlearned, oracles=oracles, fresh=fresh)
  plain, mia = (
    compare(lambda a, b, of=of: _tow(a, b, of), *panels)
    for of in (_TOW, _TOW_MIA)
  )
  return Tow(**vars(plain), mia=mia)


def make():
  """The metric; it has no settings."""
  return measure


null = _panel.null


def floor(trials: int, **sizes_and_rates) -> Interval:
  """What models of equal rates show, as the floor of the gap."""
  pair = _panel.sampled(trials, **sizes_and_rates)
  return _panel.summary(_tow(*pair, _TOW))


def _tow(unlearned, oracles, columns):
  gaps = np.abs(unlearned - oracles)[:, columns] / 100
  return np.prod(1 - gaps, axis=1)
