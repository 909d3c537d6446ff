"""Run-time efficiency: seconds to unlearn, as a part of those to retrain.

Seconds are those of warm runs on one device, data in place and synchronized;
of the repeats the median counts, since what disturbs a run only makes it
longer. The seconds of compiling, and of preparing what serves many requests,
have columns of their own and are never in the value. Gradient evaluations
(examples times passes) tell the same of no machine in particular.

There are no models to compare here: the records of runs stand in their place,
and the floor is what retraining takes, 1 and its range. The ideal of 0 is out
of reach.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._paired import mean
from unlearn_jax.metrics._words import Interval, at_least

IDEAL = 0.0
COST = 'unlearned + oracle, run 3 times each'
_REPEATS = 3


class Runs(NamedTuple):
  """What unlearning, or retraining, took for each model."""

  seconds: np.ndarray  # [models, repeats] warm
  gradients: np.ndarray  # [models] of single examples
  compile_seconds: float = 0  # once, whatever the number of models
  prepare_seconds: float = 0  # before the first request is known


@dataclasses.dataclass(frozen=True, kw_only=True)
class Efficiency:
  """Seconds of unlearning over seconds of retraining, and the other columns."""

  value: Interval
  floor: Interval  # of retraining itself, over the same mean
  seconds: Interval
  oracle_seconds: Interval
  gradients: Interval  # over those of retraining
  compile_seconds: float
  prepare_seconds: float

  @property
  def at_floor(self) -> bool:
    """Whether retraining could have been as fast."""
    return self.value.high >= self.floor.low


def measure(*, unlearned: Runs, oracles: Runs) -> Efficiency:
  """Compares records of as many models."""
  seconds = _outputs.alike(
    2,
    **{
      'seconds of unlearned': unlearned.seconds,
      'seconds of oracles': oracles.seconds,
    },
  )
  models, repeats = seconds[0].shape
  at_least('repeats', repeats, _REPEATS)
  if min(x.min() for x in seconds) <= 0:
    raise errors.DataError('a run takes more than 0 seconds')
  gradients = [_counts(runs.gradients, models) for runs in (unlearned, oracles)]
  if not gradients[1].all():
    raise errors.DataError('retraining evaluates gradients, got 0 of them')
  once = (unlearned.compile_seconds, unlearned.prepare_seconds)
  if not all(0 <= x < np.inf for x in once):
    raise errors.DataError(
      f'seconds of compiling and preparing are 0 or more, got {once}'
    )
  mine, theirs = (np.median(x, axis=1) for x in seconds)
  unit = theirs.mean()
  return Efficiency(
    value=mean(mine / unit),
    floor=mean(theirs / unit),
    seconds=mean(mine),
    oracle_seconds=mean(theirs),
    gradients=mean(gradients[0] / gradients[1]),
    compile_seconds=float(once[0]),
    prepare_seconds=float(once[1]),
  )


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8) -> dict:
  """An unlearner that retrains."""
  rng = np.random.default_rng(seed)
  return {
    name: Runs(
      10 + rng.exponential(size=(models, _REPEATS)), np.full(models, 1000)
    )
    for name in ('unlearned', 'oracles')
  }


def floor(models: int) -> Interval:
  """What so many runs of `null` show; real retraining is in the result."""
  at_least('models', models, 2)
  return measure(**null(0, models=models)).floor


def _counts(gradients, models: int) -> np.ndarray:
  gradients = np.asarray(gradients)
  if (
    gradients.dtype.kind not in 'iu'
    or gradients.shape != (models,)
    or gradients.min() < 0
  ):
    raise errors.DataError(
      f'gradients are counts of the {models} models, got {gradients.dtype} '
      f'{gradients.shape}'
    )
  return gradients
