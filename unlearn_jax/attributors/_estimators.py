"""The estimators of datamodels: weights from sums over models.

`solve(cross, penalty, spread)` gives the weights [n, t] of a block of targets
from their Zc'Yc [n, t], a penalty for each [t] and their sums of squares [t].
`choose` gives the penalty of each target.
"""

import numpy as np
from scipy import linalg

from unlearn_jax.attributors import _lasso

# Of the mean eigenvalue of the Gram matrix of the masks.
_RIDGE_PATH = tuple(np.geomspace(1e3, 1e-3, 49))
# Of the smallest penalty that makes every weight zero.
_LASSO_PATH = tuple(np.geomspace(1, 1e-3, 31))

# Penalties in a row that are worse than the best before a target gives up.
_PATIENCE = 4


class Difference:
  """Mean with minus mean without."""

  def __init__(self, moments):
    alpha = moments.alpha
    self._scale = moments.count * alpha * (1 - alpha)

  def solve(self, cross, penalty, spread):
    return cross / self._scale[:, None]


class Ridge:
  """(Zc'Zc + penalty I)^-1 Zc'Yc."""

  def __init__(self, moments):
    self._moments, self._gram = moments, moments.gram()
    self._spectrum, self._factors = None, {}
    self.shared = None

  def solve(self, cross, penalty, spread):
    if (penalty == penalty[0]).all():  # A Cholesky is ten times cheaper.
      return linalg.cho_solve(self._factored(float(penalty[0])), cross)
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

  def _factored(self, penalty):
    if penalty not in self._factors:
      raised = self._gram + penalty * np.eye(len(self._gram))
      self._factors = {penalty: linalg.cho_factor(raised)}  # one at a time
    return self._factors[penalty]

  def _decomposed(self):
    if self._spectrum is None:
      values, vectors = linalg.eigh(self._gram)
      self._spectrum = np.maximum(values, 0.0), vectors
    return self._spectrum


class Lasso:
  """Masks scaled to variance 1, and targets too while it is solved."""

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
      behind = np.zeros(top.shape, int)
      for fraction in path:
        weights = self.solve(cross, fraction * top, spread, weights)
        intercept = moments.mean[block] - moments.alpha @ weights
        error = held_out.error(weights, intercept, block)
        chosen[block] = np.where(error < least, fraction * top, chosen[block])
        behind = np.where(error < least, 0, behind + 1)
        least = np.minimum(error, least)
        if behind.min() >= _PATIENCE:
          break  # the rest of the path is the slow one
    return chosen

  def _unit(self, spread):
    """Standard deviation of the targets, 1 where they are constant."""
    return np.where(spread > 0, np.sqrt(spread / self._moments.count), 1.0)


SOLVERS = {'difference': Difference, 'ridge': Ridge, 'lasso': Lasso}
