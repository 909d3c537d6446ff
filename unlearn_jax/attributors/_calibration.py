"""How far predicted shifts must be stretched to match what happens.

An attribution is fitted where data are (half of the examples gone, or none)
and used elsewhere. Its slope against real retraining, on forget sets that are
not the published ones or on held-out models, is a number to fit and to
report, never to take for 1.
"""

from typing import NamedTuple

import numpy as np
from absl import logging

from unlearn_jax import errors
from unlearn_jax.attributors import _moments, _words


class Calibration(NamedTuple):
  """`slope` is the one multiplier over all targets; `multiplier`, what to
  apply, is the same number or one a target; `correlation` is uncentred."""

  slope: float
  multiplier: np.ndarray  # [] or [...targets]
  correlation: float


def calibrate(predicted, actual, *, shrink=None, toward=None) -> Calibration:
  """Least squares through zero of actual on predicted shifts.

  Both are [k, ...targets], of k forget sets. With `shrink` every target has
  its own (<a,p> + s toward) / (<p,p> + s), where s is `shrink` times the mean
  of <p,p> over targets; `toward` is the common slope unless given.
  """
  predicted, actual = _checked(predicted, actual)
  return _from_products(
    np.sum(predicted * predicted, axis=0),
    np.sum(predicted * actual, axis=0),
    np.sum(actual * actual, axis=0),
    shrink,
    toward,
  )


def on_held_out(
  weights, moments: _moments.Moments, *, shrink=None, toward=None
) -> Calibration:
  """Slope of held-out outputs on z'w [n, ...targets], both centred."""
  flat = np.reshape(weights, (moments.n, moments.targets))
  pairs = [
    moments.products(flat[:, block], block) for block in moments.blocks()
  ]
  own, with_y = (np.concatenate(part) for part in zip(*pairs, strict=True))
  return _from_products(
    *(
      part.reshape(moments.shape) for part in (own, with_y, moments.variation())
    ),
    shrink,
    toward,
  )


def apply(
  attribution: _words.Attribution, calibration: Calibration
) -> _words.Attribution:
  """The attribution with its shifts, and scores, multiplied."""
  c, scores = np.float32(calibration.multiplier), attribution.scores
  return attribution._replace(
    shift=lambda forget: c * attribution.shift(forget),
    scores=None if scores is None else scores * c,
  )


def _checked(predicted, actual) -> tuple[np.ndarray, np.ndarray]:
  predicted = np.asarray(predicted, np.float64)
  actual = np.asarray(actual, np.float64)
  if predicted.shape != actual.shape or not predicted.size:
    raise errors.DataError(
      f'predicted and actual shifts are [k, ...targets], the same for both; '
      f'got {list(predicted.shape)} and {list(actual.shape)}'
    )
  for name, values in (('predicted', predicted), ('actual', actual)):
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
      at = tuple(int(i) for i in wrong[0])
      raise errors.DataError(f'{name} shifts are finite, {values[at]} at {at}')
  return predicted, actual


def _from_products(own, with_y, y_own, shrink, toward) -> Calibration:
  if not own.sum() > 0:
    raise errors.DataError('predicted shifts are 0 everywhere: no slope fits')
  slope = float(with_y.sum() / own.sum())
  norm = float(np.sqrt(own.sum() * y_own.sum()))
  multiplier = np.asarray(slope)
  if shrink is not None:
    if not 0 < shrink < np.inf:
      raise errors.ConfigError(f'shrink is a positive number, got {shrink}')
    pull = shrink * own.mean()
    aim = slope if toward is None else toward
    multiplier = (with_y + pull * aim) / (own + pull)
  elif toward is not None:
    raise errors.ConfigError(f'toward {toward} needs shrink')
  correlation = float(with_y.sum() / norm) if norm else 0.0
  logging.info('calibration: slope %.4g, r %.3f', slope, correlation)
  return Calibration(slope, multiplier, correlation)
