"""The four numbers of the usual tables, in points: UA, MIA, RA and TA.

UA is 100 less the accuracy on the forget set; MIA the efficacy of the attack
whose column is shown beside it; RA and TA are accuracies on what is retained
and on the test set. Panels are [models, 4].
"""

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._words import Interval, at_least

TERMS = ('UA', 'MIA', 'RA', 'TA')
_RATES = (5.4, 13.1, 100.0, 94.4)  # of retraining, ResNet-18 on CIFAR-10


def checked(columns=TERMS, **panels) -> list:
  """The panels as float64, if they hold points of these columns."""
  found = _outputs.alike(2, **panels)
  for name, panel in zip(panels, found, strict=True):
    if panel is None:
      continue
    if panel.shape[1] != len(columns):
      raise errors.DataError(
        f'{name} has the columns {columns}, got the shape {panel.shape}'
      )
    if panel.min() < 0 or panel.max() > 100:
      raise errors.DataError(
        f'{name} is in points, 0..100; got {panel.min()}..{panel.max()}'
      )
  return _outputs.each(np.float64, found)


def sampled(trials: int, sizes=None, rates=_RATES, *, draws=4000, seed=0):
  """Two panels [draws, 4] of models that have the same rates.

  All that is between them is how many examples were asked: `trials`, or
  `sizes`, one a term.
  """
  at_least('trials', trials, 1)
  sizes = np.full(len(rates), trials) if sizes is None else np.asarray(sizes)
  draw = np.random.default_rng(seed).binomial
  shape = (draws, len(rates))
  return [
    100 * draw(sizes, np.divide(rates, 100), shape) / sizes for _ in range(2)
  ]


def summary(scores: np.ndarray) -> Interval:
  """The mean of a floor, and from where to where 90 % of it reach."""
  low, high = np.percentile(scores, [5, 95])
  return Interval(float(scores.mean()), float(low), float(high))


def null(seed: int, *, models: int = 8, trials: int = 400, rates=_RATES):
  """Panels of an unlearner that is as good as retraining."""
  pair = sampled(trials, rates=rates, draws=models, seed=seed)
  return dict(zip(('unlearned', 'oracles'), pair, strict=True))
