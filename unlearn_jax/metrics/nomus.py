"""NoMUS, H-Mean and AUS: scores that ignore the oracle. They mislead.

Each rewards what looks forgotten or useful by itself, so a model that is
further from retraining can beat retraining: of published models SCRUB has a
NoMUS of .906 where the retrained one has .863. They are here to be read beside
the gap or ToW when a table of others is compared, never to rank: `above_oracle`
names those by which the unlearned models surpass the very thing they imitate.

  NoMUS   (test + 1 - 2 |MIA - .5|) / 2
  H-Mean  2 retain drop / (retain + drop), drop = forget before - after
  AUS     (1 - (test before - test)) / (1 + |test - forget|)

with accuracies, and that of an attack on forgotten against unseen examples, as
fractions.
"""

import dataclasses

import numpy as np

from unlearn_jax.metrics import _panel
from unlearn_jax.metrics._difference import Difference, difference
from unlearn_jax.metrics._paired import mean
from unlearn_jax.metrics._words import Interval

IDEAL = 1.0
COST = 'unlearned; oracle only to show what misleads'
COLUMNS = ('forget', 'retain', 'test', 'MIA')
_RATES = (94.0, 99.0, 93.0, 52.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
  """The scores of the unlearned models, and of the oracles, which may lose."""

  value: Interval  # NoMUS
  floor: Interval  # that of the oracles
  nomus: Difference
  h_mean: Difference
  aus: Difference

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have scored the same."""
    return self.value.low <= self.floor.high and (
      self.floor.low <= self.value.high
    )

  @property
  def above_oracle(self) -> tuple[str, ...]:
    """Scores by which these models are better than retrained ones."""
    return tuple(
      name
      for name in ('nomus', 'h_mean', 'aus')
      if getattr(self, name).value.low > 0
    )


def measure(*, unlearned, oracles, original) -> Scores:
  """Scores panels [models, 4] in points: forget, retain, test and MIA."""
  unlearned, oracles, original = (
    panel / 100
    for panel in _panel.checked(
      COLUMNS, unlearned=unlearned, oracles=oracles, original=original
    )
  )
  both = (unlearned, oracles)
  nomus = [_nomus(x) for x in both]
  return Scores(
    value=mean(nomus[0]),
    floor=mean(nomus[1]),
    nomus=difference(*nomus),
    h_mean=difference(*(_h_mean(x, original) for x in both)),
    aus=difference(*(_aus(x, original) for x in both)),
  )


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8) -> dict:
  """Panels of models of equal rates, the original among them."""
  pair = _panel.null(seed, models=models, rates=_RATES)
  other = _panel.null(seed + 1000, models=models, rates=_RATES)
  return {**pair, 'original': other['unlearned']}


def floor(trials: int, *, sizes=None, rates=_RATES) -> Interval:
  """The NoMUS of models of these rates: the mean, and its P5 and P95."""
  panel, _ = _panel.sampled(trials, sizes, rates)
  return _panel.summary(_nomus(panel / 100))


def _nomus(panel) -> np.ndarray:
  _, _, test, mia = panel.T
  return (test + 1 - 2 * np.abs(mia - 0.5)) / 2


def _h_mean(panel, original) -> np.ndarray:
  forget, retain, _, _ = panel.T
  drop = original[:, 0] - forget
  total = retain + drop
  return np.divide(
    2 * retain * drop, total, out=np.zeros_like(total), where=total > 0
  )


def _aus(panel, original) -> np.ndarray:
  forget, _, test, _ = panel.T
  return (1 - (original[:, 2] - test)) / (1 + np.abs(test - forget))
