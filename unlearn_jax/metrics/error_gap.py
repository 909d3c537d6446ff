"""The average gap of a regression: how far its errors are from the oracle's.

The mean, over the forget, retain and test sets, of the absolute difference in
mean absolute error, which is in standard deviations of the retained targets.
It is never 0 between oracles, and is read beside its floor and the three signed
terms: as that of classes, it hides which of them is off.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._difference import Difference, difference
from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval, at_least, numbers

IDEAL = 0.0
COST = 'unlearned + oracle'


class Outputs(NamedTuple):
  """Predictions [models, examples, outputs] of each split."""

  forget: np.ndarray
  retain: np.ndarray
  test: np.ndarray


class Targets(NamedTuple):
  """Targets [examples, outputs] of each split."""

  forget: np.ndarray
  retain: np.ndarray
  test: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorGap(Paired):
  """The gap, and the error of each split."""

  errors: dict[str, Difference]


def measure(*, unlearned, oracles, targets, fresh=None) -> ErrorGap:
  """Compares `Outputs`, given `Targets`."""
  sides = {'unlearned': unlearned, 'oracles': oracles, 'fresh': fresh}
  retain = numbers('retain targets', targets.retain, 2, finite=True)
  scale = np.std(retain, axis=0, dtype=np.float64)
  if not scale.all():
    raise errors.DataError('retained targets are constant: they give no scale')
  found = {
    split: _errors(split, sides, getattr(targets, split), scale)
    for split in Outputs._fields
  }
  panels = [
    None if side[0] is None else np.stack(side, axis=1)
    for side in zip(*found.values(), strict=True)
  ]
  return ErrorGap(
    **vars(compare(_gap, *panels)),
    errors={split: difference(*of) for split, of in found.items()},
  )


def make():
  """The metric; it has no settings."""
  return measure


def null(seed: int, *, models: int = 8, examples: int = 100) -> dict:
  """Predictions of models that only differ by chance."""
  draw = np.random.default_rng(seed).normal
  targets = Targets(*draw(size=(3, examples, 2)))
  made = {
    name: Outputs(*(y + draw(size=(models, examples, 2)) for y in targets))
    for name in ('unlearned', 'oracles')
  }
  return {**made, 'targets': targets}


def floor(trials: int, *, draws: int = 400, seed: int = 0) -> Interval:
  """What two models with normal errors on so many examples show, P5 and P95."""
  at_least('trials', trials, 1)
  draw = np.random.default_rng(seed).normal
  pair = (np.abs(draw(size=(draws, trials, 3))).mean(axis=1) for _ in range(2))
  gaps = _gap(*pair)
  return Interval(float(gaps.mean()), *map(float, np.percentile(gaps, [5, 95])))


def _errors(split, sides, targets, scale) -> list:
  """Mean absolute errors [models] of each side on a split."""
  targets = numbers(f'{split} targets', targets, 2, finite=True)
  predictions = _outputs.of_split(split, **sides)
  if predictions[0].shape[1:] != targets.shape:
    raise errors.DataError(
      f'predictions of {split} are {predictions[0].shape}, targets '
      f'{targets.shape}'
    )
  return _outputs.each(
    lambda x: np.mean(np.abs(x - targets) / scale, axis=(1, 2)), predictions
  )


def _gap(unlearned, oracles):
  return np.abs(unlearned - oracles).mean(axis=1)
