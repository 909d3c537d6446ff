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
from scipy import linalg

from unlearn_jax import errors
from unlearn_jax.attributors import _calibration, _lasso, _moments, _words

# How each may choose its penalty; the first is the default.
_CHOICES = {
  'difference': (),
  'ridge': ('gcv', 'held_out'),
  'lasso': ('held_out',),
}
ESTIMATORS = tuple(_CHOICES)
# Of the mean eigenvalue of the Gram matrix of the masks.
_RIDGE_PATH = tuple(np.geomspace(1e3, 1e-3, 49))
# Of the smallest penalty that makes every weight zero.
_LASSO_PATH = tuple(np.geomspace(1, 1e-3, 31))


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
    forget = _positions(forget, len(self.alpha))
    return -np.sum(self.weights[forget], axis=0, dtype=np.float64)

  def scaled(self, multiplier) -> 'Datamodel':
    """Weights times `multiplier` ([] or [...targets]), about the mean mask."""
    extra = np.asarray(multiplier) - 1
    middle = np.tensordot(self.alpha, self.weights, 1)
    return dataclasses.replace(
      self,
      weights=(self.weights * np.float32(multiplier)),
      intercept=self.intercept - extra * middle,
    )


def make(
  *,
  estimator: str = 'ridge',
  penalty: float | str | None = None,
  path: Sequence[float] | None = None,
  per_target: bool = False,
  held_out: float = 0.1,
  calibration: float | str = 'held_out',
):
  """Fits `Setting.masks` to `Setting.outputs`; see `fit` for the estimators.

  Effects are multiplied by `calibration`: a number, or 'held_out' for the slope
  found on a fraction `held_out` of the models. That slope holds for masks like
  the ones given; where few examples go, fit one with `_calibration.calibrate`.
  """
  by = _check_options(estimator, penalty, path)
  errors.check_fraction('held_out', held_out)
  fitted = calibration == 'held_out'
  if not fitted and not _positive(calibration):
    raise errors.ConfigError(
      f"calibration is 'held_out' or a positive number, got {calibration!r}"
    )
  aside = held_out if fitted or by == 'held_out' else 0.0

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
  per_target: bool = False,
  held_out: _moments.Moments | None = None,
) -> Datamodel:
  """A datamodel from sums over models, never from the models themselves.

  `path` holds the penalties to choose from, largest first: for ridge as
  multiples of the mean eigenvalue of Zc'Zc, for lasso as fractions of the
  smallest penalty at which every weight is zero. Ridge has one for all targets
  unless `per_target`; lasso has one a target. `held_out` judges the choice and
  calibrates the slope; then the weights are fitted again on all models.
  """
  penalty = _check_options(estimator, penalty, path)
  _check_moments(moments, penalty, held_out)
  solver = _SOLVERS[estimator](moments)
  if isinstance(penalty, str):
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
    weights = _weights(_SOLVERS[estimator](moments), moments, chosen)
  intercept = moments.mean - moments.alpha @ weights
  return Datamodel(
    weights.reshape(moments.n, *moments.shape),
    intercept.reshape(moments.shape),
    chosen.reshape(moments.shape),
    moments.alpha,
    calibration,
  )


class _Difference:
  """Mean with minus mean without."""

  def __init__(self, moments):
    alpha = moments.alpha
    self._scale = moments.count * alpha * (1 - alpha)

  def solve(self, cross, penalty, spread):
    return cross / self._scale[:, None]


class _Ridge:
  def __init__(self, moments):
    self._moments, self._gram = moments, moments.gram()
    self._spectrum = self._factor = None
    self.shared = None

  def solve(self, cross, penalty, spread):
    if (penalty == penalty[0]).all():  # A Cholesky is ten times cheaper.
      if self._factor is None:
        self._factor = linalg.cho_factor(
          self._gram + penalty[0] * np.eye(len(self._gram))
        )
      return linalg.cho_solve(self._factor, cross)
    values, vectors = self._decomposed()
    rotated = vectors.T @ cross
    return vectors @ (rotated / (values[:, None] + penalty[None]))

  def choose(self, held_out, path):
    """The best penalty of each target, [t]; `shared` is the best for all."""
    grid = np.asarray(_RIDGE_PATH if path is None else path, np.float64)
    grid = grid * np.trace(self._gram) / len(self._gram)
    scores = np.empty((len(grid), self._moments.targets))
    for block in self._moments.blocks():
      scores[:, block] = self._scores(grid, held_out, block)
    # Each target counts alike, whatever its scale.
    spread = self._moments.variation()
    live = spread > 0
    pooled = np.sum(scores[:, live] / spread[None, live], axis=1)
    self.shared = grid[np.argmin(pooled)]
    return grid[np.argmin(scores, axis=0)]

  def _scores(self, grid, held_out, block):
    moments, (values, vectors) = self._moments, self._decomposed()
    rotated = vectors.T @ moments.cross(block)
    if held_out is not None:
      center, alpha = moments.mean[block], moments.alpha
      scores = []
      for penalty in grid:
        w = vectors @ (rotated / (values + penalty)[:, None])
        scores.append(held_out.error(w, center - alpha @ w, block))
      return np.stack(scores)
    count, total = moments.count, values[None] + grid[:, None]
    # y'y - 2 w'Zc'Yc + w'Zc'Zc w in the eigenvectors of Zc'Zc
    explained = ((total + grid[:, None]) / total**2) @ rotated**2
    left = np.maximum(moments.variation(block)[None] - explained, 0.0)
    used = 1 + np.sum(values[None] / total, axis=1)  # 1: the intercept
    return left / count / (1 - used / count)[:, None] ** 2

  def _decomposed(self):
    if self._spectrum is None:
      values, vectors = linalg.eigh(self._gram)
      self._spectrum = np.maximum(values, 0.0), vectors
    return self._spectrum


class _Lasso:
  def __init__(self, moments):
    alpha = moments.alpha
    self._moments = moments
    self._scale = np.sqrt(alpha * (1 - alpha))[:, None]
    gram = moments.gram() / (moments.count * self._scale * self._scale.T)
    width = min(moments.targets, 4096)
    self._problem = _lasso.Problem(gram, width)

  def solve(self, cross, penalty, spread, start=None):
    """Weights of masks as they are; penalties are those of scaled ones."""
    unit = self._unit(spread)
    if start is not None:
      start = start * self._scale / unit[None]
    scaled = cross / (self._moments.count * self._scale * unit[None])
    found = self._problem.solve(scaled, penalty / unit, start)
    return found * unit[None] / self._scale

  def choose(self, held_out, path):
    """The penalty of each target that does best on held-out models, [t]."""
    path = _LASSO_PATH if path is None else path
    moments = self._moments
    chosen = np.empty(moments.targets)
    for block in moments.blocks(self._problem.width):
      cross, spread = moments.cross(block), moments.variation(block)
      top = np.max(np.abs(cross / self._scale), axis=0) / moments.count
      least, weights = np.full(top.shape, np.inf), None
      for fraction in path:
        weights = self.solve(cross, fraction * top, spread, weights)
        intercept = moments.mean[block] - moments.alpha @ weights
        error = held_out.error(weights, intercept, block)
        chosen[block] = np.where(error < least, fraction * top, chosen[block])
        least = np.minimum(error, least)
    return chosen

  def _unit(self, spread):
    """Standard deviation of the targets, 1 where they are constant."""
    return np.where(spread > 0, np.sqrt(spread / self._moments.count), 1.0)


_SOLVERS = {'difference': _Difference, 'ridge': _Ridge, 'lasso': _Lasso}


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


def _positions(forget, n: int) -> np.ndarray:
  """Positions as integers, each once."""
  forget = np.asarray(forget)
  if not forget.size:
    return np.zeros(0, np.int64)
  if forget.dtype.kind not in 'iu' or forget.ndim != 1:
    raise errors.UnknownPosition(
      f'positions are integers of shape [k], got {forget.dtype} '
      f'{list(forget.shape)}; np.flatnonzero makes them of a mask'
    )
  wrong = forget[(forget < 0) | (forget >= n)]
  if wrong.size:
    raise errors.UnknownPosition(
      f'the rows are 0..{n - 1}, asked for {wrong[:5].tolist()}'
    )
  once, times = np.unique(forget, return_counts=True)
  if (times > 1).any():
    raise errors.UnknownPosition(
      f'positions are named once, got twice {once[times > 1][:5].tolist()}'
    )
  return forget
