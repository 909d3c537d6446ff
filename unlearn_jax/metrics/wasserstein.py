"""Wasserstein-1 between the predictions of a regression and the oracle's.

The area between the two distributions of predictions on the forget set, over
the standard deviation of the targets; of several outputs the mean. Two samples
of one normal differ too: by .18 with 100 examples, .08 with 500.
"""

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval, at_least, numbers

IDEAL = 0.0
COST = 'unlearned + oracle'


def measure(*, unlearned, oracles, targets, fresh=None) -> Paired:
  """Compares predictions [models, examples, outputs].

  `targets` [examples, outputs] give the scale. Oracles may have been asked
  about more or fewer examples than the unlearned models.
  """
  (unlearned,) = _outputs.alike(3, unlearned=unlearned)
  oracles, fresh = _outputs.alike(3, oracles=oracles, fresh=fresh)
  targets = numbers('targets', targets, 2, finite=True)
  outputs = {x.shape[-1] for x in (unlearned, oracles, targets)}
  if len(outputs) > 1:
    raise errors.DataError(
      'outputs must be as many: unlearned '
      f'{unlearned.shape}, oracles {oracles.shape}, targets {targets.shape}'
    )
  scale = np.std(targets, axis=0, dtype=np.float64)
  if not scale.all():
    raise errors.DataError('targets are constant: they give no scale')
  predictions = _outputs.each(
    lambda x: np.sort(x / scale, axis=1), [unlearned, oracles, fresh]
  )
  return compare(_area, *predictions)


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8, examples: int = 100) -> dict:
  """Predictions of models that only differ by chance."""
  draw = np.random.default_rng(seed).normal
  targets = draw(size=(examples, 2))
  return {
    'unlearned': targets + draw(size=(models, examples, 2)),
    'oracles': targets + draw(size=(models, examples, 2)),
    'targets': targets,
  }


def floor(trials: int, *, draws: int = 400, seed: int = 0) -> Interval:
  """What two samples of one normal, of so many, show: the mean, P5 and P95."""
  at_least('trials', trials, 1)
  draw = np.random.default_rng(seed).normal
  pair = (np.sort(draw(size=(draws, trials, 1)), axis=1) for _ in range(2))
  areas = _area(*pair)
  return Interval(
    float(areas.mean()), *map(float, np.percentile(areas, [5, 95]))
  )


def _area(first, second) -> np.ndarray:
  """[models] the area between the distributions of sorted values.

  Both quantile functions are steps; between two steps of either, a share of
  the probability that only depends on the counts, they are constant.
  """
  n, m = first.shape[1], second.shape[1]
  ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
  share = np.diff(ends, prepend=0) / (n * m)
  gaps = np.abs(first[:, (ends - 1) // m] - second[:, (ends - 1) // n])
  return np.sum(gaps * share[:, None], axis=1).mean(axis=1)
