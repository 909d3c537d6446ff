"""TRAK: a linear model in the projected gradients of the margin, in its units.

Park et al., "TRAK: Attributing Model Behavior at Scale" (ICML 2023). Each model
is linearized around its parameters and its gradients are projected, phi_i =
P' grad m(x_i). Their code divides the inverse by its mean absolute entry, which
leaves ranks alone but makes the scores useless as shifts: not done here.
"""

import numpy as np
import scipy.linalg

from unlearn_jax import errors
from unlearn_jax.attributors import _additive, _margins, _words


def make(
  *,
  dim: int | None = 2048,
  projection: str = 'rademacher',
  newton: bool = False,
  retained: bool = False,
  ridge: float = 1e-3,
  chunk: int = 64,
  block: int = 4096,
  seed: int = 0,
):
  """TRAK, or one Newton step in its features.

  Args:
    dim: width of the projection; None keeps every parameter.
    projection: 'rademacher' or 'gaussian'.
    newton: weighs examples by their curvature p (1 - p), knows the decay of the
      setting, and averages whole products over models. Without it, as in the
      paper: weights of 1, no decay, and the inverses and the 1 - p averaged
      apart. Newton shifts are the calibrated ones, for two classes; for more,
      curvature in the margin alone is only a part of the whole and they come
      out too large. TRAK's are too small by about the mean curvature.
    retained: solves the Newton step anew for each F, on what is left without
      it: sharper where F is influential, but then no example has a score of
      its own. Otherwise solved once, on all examples.
    ridge: added to the diagonal of what is inverted, in units of summed losses
      (as the damping of influence functions is).
    chunk: examples whose gradients are held at once.
    block: parameters whose rows of the projection are held at once.
    seed: of the projection.
  """
  if retained and not newton:
    raise errors.ConfigError('retained=True is an option of newton=True')
  if not ridge >= 0:
    raise errors.ConfigError(f'ridge is not negative, got {ridge}')

  def attribute(setting: _words.Setting) -> _words.Attribution:
    count, margins = _margins.of_models(
      setting,
      dim=dim,
      projection=projection,
      chunk=chunk,
      block=block,
      seed=seed,
    )
    if retained:
      return _retained([margins(j) for j in range(count)], ridge, setting.decay)
    of_all = _newton if newton else _trak
    return _additive.additive(
      'margin', of_all(map(margins, range(count)), ridge, setting.decay)
    )

  return attribute


def _trak(models, ridge, decay):
  """Scores [n, p]; the models' decay has no place in this formula."""
  kernels, missing = [], []
  for m in models:
    gram = m.examples.T @ m.examples
    kernels.append(m.examples @ _solve(gram, ridge, m.points.T))
    missing.append(m.missing)
  return np.mean(kernels, axis=0) * np.mean(missing, axis=0)[:, None]


def _newton(models, ridge, decay):
  """Scores [n, p], solved on all examples."""
  scores = []
  for m in models:
    diagonal = ridge + len(m.examples) * decay
    inverse = _solve(_curvature(m, slice(None)), diagonal, m.points.T)
    scores.append(_pulls(m, slice(None), decay) @ inverse)
  return np.mean(scores, axis=0)


def _retained(models, ridge, decay):
  """Shifts solved on the examples without F."""
  n = len(models[0].examples)
  whole = [_curvature(m, slice(None)) for m in models]

  def shift(forgotten):
    gone = _additive.positions(forgotten, n)
    diagonal = ridge + (n - len(gone)) * decay
    shifts = []
    for m, gram in zip(models, whole, strict=True):
      step = _pulls(m, gone, decay).sum(axis=0)
      step = _solve(gram - _curvature(m, gone), diagonal, step)
      shifts.append(-m.points @ step)
    return np.mean(shifts, axis=0)

  return _words.Attribution('margin', shift)


def _pulls(m, rows, decay):
  """Minus the gradient of each example's loss and of its part of the decay."""
  return m.missing[rows, None] * m.examples[rows] - decay * m.params[None]


def _curvature(m, rows):
  """The Hessian of the summed losses of these examples, without decay."""
  features = m.examples[rows]
  return features.T @ (m.curvature[rows, None] * features)


def _solve(gram, diagonal, right):
  """(gram + diagonal I)^-1 right; `gram` is used up."""
  gram[np.diag_indices_from(gram)] += diagonal
  try:
    return scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram), right)
  except scipy.linalg.LinAlgError as error:
    raise errors.ConfigError(
      f'ridge + decay = {diagonal:g} is too small: with fewer examples than '
      'dimensions, or redundant parameters, nothing else keeps it solvable'
    ) from error
