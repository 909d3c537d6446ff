"""Datamodels: outputs as linear functions of who was trained on.

Models trained on random subsets are regressed on their masks: output t of a
model trained on mask z is b_t + z'w_t, so removing F moves it by minus the sum
of w over F. The estimators:

- 'difference': mean output with an example minus mean output without it;
- 'ridge': (Zc'Zc + penalty I)^-1 Zc'Yc, one decomposition for all targets;
- 'lasso': min (1/2M)|Yc - Xw|^2 + penalty |w|_1, X the masks scaled to
  variance 1.

A penalty is a number, or chosen: 'gcv' (ridge; generalised cross-validation,
no data set aside) or 'held_out' (models set aside, and fitted with the rest
once the choice is made).
"""

import dataclasses
import numbers
from collections.abc import Sequence

import numpy as np
from absl import logging

from unlearn_jax import errors
from unlearn_jax.attributors import (
  _additive,
  _calibration,
  _estimators,
  _moments,
  _words,
)

# How each may choose its penalty; the first is the default.
_CHOICES = {
  'difference': (),
  'ridge': ('gcv', 'held_out'),
  'lasso': ('held_out',),
}
ESTIMATORS = tuple(_CHOICES)


@dataclasses.dataclass(frozen=True, eq=False)
class Datamodel:
  """Outputs [...targets] as intercept + z'weights."""

  weights: np.ndarray  # [n, ...targets] float32
  intercept: np.ndarray  # [...targets]
  penalty: np.ndarray  # [...targets]; 0 for 'difference'
  alpha: np.ndarray  # [n] mean of the masks it was fitted on
  calibration: _calibration.Calibration | None  # on held-out models, if any

  def predict(self, masks) -> np.ndarray:
    """Outputs [k, ...targets] of models trained on masks [k, n]."""
    masks = np.asarray(masks)
    if masks.ndim != 2 or masks.shape[1] != len(self.alpha):
      raise errors.DataError(
        f'masks are [k, {len(self.alpha)}], got {list(masks.shape)}'
      )
    if not ((masks == 0) | (masks == 1)).all():
      raise errors.DataError(f'masks are 0 or 1, got {np.unique(masks)[:5]}')
    return self.intercept + np.tensordot(
      masks.astype(np.float32), self.weights, 1
    )

  def shift(self, forget) -> np.ndarray:
    """How outputs [...targets] move when the examples `forget` go."""
    forget = _additive.positions(forget, len(self.alpha))
    return -np.sum(self.weights[forget], axis=0, dtype=np.float64)

  def scaled(self, multiplier) -> 'Datamodel':
    """Weights times `multiplier` ([] or [...targets]), about the mean mask."""
    extra = np.asarray(multiplier) - 1
    middle = np.tensordot(self.alpha, self.weights, 1)
    return dataclasses.replace(
      self,
      weights=self.weights * np.float32(multiplier),
      intercept=self.intercept - extra * middle,
    )


def make(
  *,
  estimator: str = 'ridge',
  penalty: float | str | None = None,
  path: Sequence[float] | None = None,
  per_target: bool = True,
  held_out: float = 0.1,
  calibration: float | str = 'held_out',
):
  """Fits `Setting.masks` to `Setting.outputs`; see `fit` for the estimators.

  Effects are multiplied by `calibration`: a number, or 'held_out' for the slope
  found on a fraction `held_out` of the models. That slope holds for masks like
  the ones given; where few examples go, fit one with `_calibration.calibrate`.
  The models held out are the last ones: masks come in no order.
  """
  by = _check_options(estimator, penalty, path)
  errors.check_fraction('held_out', held_out)
  fitted = calibration == 'held_out'
  if not fitted and not _positive(calibration):
    raise errors.ConfigError(
      f"calibration is 'held_out' or a positive number, got {calibration!r}"
    )
  aside = held_out if fitted or by == 'held_out' else 0.0
  if not aside and (fitted or by == 'held_out'):
    raise errors.ConfigError(
      f'penalty {by!r}, calibration {calibration!r}: held_out is above 0, got '
      f'{held_out}'
    )

  def attribute(setting: _words.Setting) -> _words.Attribution:
    of = _check_setting(setting)
    train, rest = _split(setting.masks, setting.outputs, aside)
    model = fit(
      train,
      estimator=estimator,
      penalty=penalty,
      path=path,
      per_target=per_target,
      held_out=rest,
    )
    multiplier = calibration
    if fitted:
      found = model.calibration
      multiplier = found.slope if found else 1.0  # of weights that are all 0
    model = model.scaled(multiplier)
    return _words.Attribution(of, model.shift, model.weights)

  return attribute


def fit(
  moments: _moments.Moments,
  *,
  estimator: str = 'ridge',
  penalty: float | str | None = None,
  path: Sequence[float] | None = None,
  per_target: bool = True,
  held_out: _moments.Moments | None = None,
) -> Datamodel:
  """A datamodel from sums over models, never from the models themselves.

  `path` holds the penalties to choose from, largest first: for ridge as
  multiples of the mean eigenvalue of Zc'Zc, for lasso as fractions of the
  smallest penalty at which every weight is zero. Each target has its own; ridge
  has one for all if not `per_target`. `held_out` judges the choice and
  calibrates the slope; then the weights are fitted again on all models.
  """
  penalty = _check_options(estimator, penalty, path)
  _check_moments(moments, penalty, held_out)
  solver = _estimators.SOLVERS[estimator](moments)
  if isinstance(penalty, str):  # how to choose one
    chosen = solver.choose(held_out if penalty == 'held_out' else None, path)
    if estimator == 'ridge' and not per_target:
      chosen = np.full_like(chosen, solver.shared)
    logging.info('%s penalty: median %.4g', estimator, np.median(chosen))
  else:
    chosen = np.full(moments.targets, float(penalty))
  weights = _weights(solver, moments, chosen)
  calibration = None
  if held_out is not None:
    if weights.any():
      calibration = _calibration.on_held_out(weights, held_out)
    moments = _both(moments, held_out)
    weights = _weights(_estimators.SOLVERS[estimator](moments), moments, chosen)
  intercept = moments.mean - moments.alpha @ weights
  return Datamodel(
    weights.reshape(moments.n, *moments.shape),
    intercept.reshape(moments.shape),
    chosen.reshape(moments.shape),
    moments.alpha,
    calibration,
  )


def _weights(solver, moments, penalty) -> np.ndarray:
  """Weights [n, t], block by block."""
  weights = np.empty((moments.n, moments.targets), np.float32)
  for block in moments.blocks():
    weights[:, block] = solver.solve(
      moments.cross(block), penalty[block], moments.variation(block)
    )
  return weights


def _both(a, b) -> _moments.Moments:
  both = _moments.Moments.restore(a.state())
  both.merge(b)
  return both


def _split(masks, outputs, fraction):
  """Moments of the first models, and of the last `fraction` (or None)."""
  masks, outputs = np.asarray(masks), np.asarray(outputs)
  aside = round(fraction * len(masks))
  if not fraction:
    return _moments.Moments.of(masks, outputs), None
  cut = len(masks) - aside
  if aside < 2 or cut < 2:
    raise errors.DataError(
      f'{len(masks)} models are too few to hold out a fraction {fraction}'
    )
  return (
    _moments.Moments.of(masks[:cut], outputs[:cut]),
    _moments.Moments.of(masks[cut:], outputs[cut:]),
  )


def _positive(value) -> bool:
  real = isinstance(value, numbers.Real) and not isinstance(value, bool)
  return real and 0 < value < np.inf


def _check_options(estimator, penalty, path):
  """The penalty asked for, or the default of the estimator."""
  errors.check_choice('estimator', estimator, ESTIMATORS)
  names = _CHOICES[estimator]
  if path is not None and not (len(path) and all(map(_positive, path))):
    raise errors.ConfigError(f'path holds positive numbers, got {path}')
  if penalty is None:
    return names[0] if names else 0.0
  if estimator == 'difference':
    raise errors.ConfigError(f"'difference' has no penalty, got {penalty!r}")
  if isinstance(penalty, str):
    errors.check_choice(f'penalty of {estimator}', penalty, names)
  elif not _positive(penalty):
    raise errors.ConfigError(
      f'penalty is a positive number or {" or ".join(names)}, got {penalty!r}'
    )
  return penalty


def _check_moments(moments, penalty, held_out) -> None:
  if moments.count < 2:
    raise errors.DataError(f'{moments.count} models are too few to compare')
  alpha = moments.alpha
  fixed = np.flatnonzero((alpha == 0) | (alpha == 1))
  if fixed.size:
    raise errors.DataError(
      f'{fixed.size} example(s) are in every mask of {moments.count} or in '
      f'none, so their effect cannot be seen: {fixed[:5].tolist()}'
    )
  if held_out is None:
    if penalty == 'held_out':
      raise errors.ConfigError("penalty 'held_out' needs held_out moments")
    return
  mine, theirs = ((m.n, *m.shape) for m in (moments, held_out))
  if mine != theirs or held_out.count < 2:
    raise errors.DataError(
      f'held-out moments are of at least 2 models and {list(mine)}, got '
      f'{held_out.count} and {list(theirs)}'
    )


def _check_setting(setting: _words.Setting) -> str:
  """What the outputs are."""
  if setting.masks is None or setting.outputs is None:
    raise errors.DataError(
      'datamodels are fitted to models of subsets: the setting needs masks '
      '[m, n] and outputs [m, p, classes]'
    )
  masks, outputs = np.shape(setting.masks), np.shape(setting.outputs)
  n, p = len(setting.x), len(setting.points)
  fits = masks == (len(setting.masks), n) and outputs[:2] == (masks[0], p)
  if not fits or len(outputs) not in (2, 3):
    raise errors.DataError(
      f'masks are [m, {n}] and outputs [m, {p}, classes] or margins [m, {p}], '
      f'got {list(masks)} and {list(outputs)}'
    )
  return 'logits' if len(outputs) == 3 else 'margin'
