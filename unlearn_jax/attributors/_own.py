"""Datamodels of training examples on their own outputs, two for each.

Whether a model was trained on an example changes how it answers there, and how
much the others matter: what one knows by heart, nobody else can teach. So an
example has a linear datamodel of the models that saw it, and one of those that
did not. Removing it goes from one to the other; removing others moves along the
first.

Both are pulled towards the common datamodel, by ridge on the difference. Sums
over models are not enough for this: it needs every output, [models, n].
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from unlearn_jax import errors
from unlearn_jax.attributors import _additive

_TOLERANCE = 1e-6  # of the conjugate gradients, relative: a few roundings
_MAX_STEPS = 1000  # tens are enough where models are more than examples


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Own:
  """Effects on the output of example i, in column i; none is its own.

  Attributes:
    present, absent: [n, n] of models trained on i, and of those that were not.
    gap: [n] output with minus output without i, at the mean mask.
    spread: [n] standard deviation of what is left unexplained, without i.
    alpha: [n] the mean mask.
  """

  present: np.ndarray
  absent: np.ndarray
  gap: np.ndarray
  spread: np.ndarray
  alpha: np.ndarray

  def shift(self, forget) -> np.ndarray:
    """How the outputs [n] move when `forget` go from the whole data."""
    forget = _additive.positions(forget, len(self.alpha))
    moved = -np.sum(self.present[forget], axis=0, dtype=np.float64)
    change = self.absent[:, forget] - self.present[:, forget]
    of_others = (1 - self.alpha) @ change
    of_others -= np.sum(self.absent[np.ix_(forget, forget)], axis=0)
    moved[forget] = of_others - self.gap[forget]
    return moved


def fit(masks, outputs, weights, penalty) -> Own:
  """Two datamodels for each example.

  Args:
    masks: [m, n] who was trained on.
    outputs: [m, n] of these models at the training examples.
    weights: [n, n] of the common datamodel of these outputs.
    penalty: of the ridge; a number, or one for each example.
  """
  masks, outputs = np.asarray(masks), np.asarray(outputs)
  n = masks.shape[-1]
  if masks.ndim != 2 or outputs.shape != masks.shape or weights.shape != (n, n):
    raise errors.DataError(
      f'masks and outputs are [m, n], weights [n, n], got {list(masks.shape)}, '
      f'{list(outputs.shape)} and {list(np.shape(weights))}'
    )
  trained = masks.sum(axis=0)
  few = np.flatnonzero((trained < 2) | (trained > len(masks) - 2))
  if few.size:
    raise errors.DataError(
      'every example needs 2 models that saw it and 2 that did not; too few at '
      f'{few[:5].tolist()}'
    )
  seen, outputs, weights = (
    np.float32(part) for part in (masks, outputs, weights)
  )
  penalty = np.broadcast_to(np.float32(penalty), (n,))
  with_it, without = (
    _fit(rows, seen, outputs, weights, penalty) for rows in (seen, 1 - seen)
  )
  residual = max(float(with_it[-1]), float(without[-1]))
  if not residual <= 1e3 * _TOLERANCE:
    logging.warning('datamodels of rows: stopped at residual %.1e', residual)
  present, absent, here, gone, spread = map(
    np.asarray, (with_it[0], without[0], with_it[1], without[1], without[2])
  )
  return Own(
    present=present,
    absent=absent,
    gap=np.float64(here) - gone,
    spread=np.float64(spread),
    alpha=masks.mean(axis=0),
  )


@jax.jit
def _fit(rows, masks, outputs, weights, penalty):
  """Weights, level, spread and residual from the models in `rows`, [m, n].

  Column i of everything is about example i, whose models are its own: a product
  with the masks serves all of them, where a system for each would not.
  """
  with jax.default_matmul_precision('highest'):
    n = masks.shape[1]
    x = masks - jnp.mean(masks, axis=0)[None]
    other = 1 - jnp.eye(n)  # nobody explains himself

    def mean(values):
      return jnp.sum(rows * values, axis=0) / jnp.sum(rows, axis=0)

    def explained(w):
      fit = x @ w
      return fit - mean(fit)[None]

    def curved(w):
      return other * (x.T @ (rows * explained(w))) + penalty[None] * w

    common = weights * other
    left = outputs - mean(outputs)[None] - explained(common)
    pull = other * (x.T @ (rows * left))
    extra, _ = jax.scipy.sparse.linalg.cg(
      curved, pull, tol=_TOLERANCE, maxiter=_MAX_STEPS
    )
    found = common + extra
    level = mean(outputs) - mean(x @ found)
    rest = jnp.sum(rows * (left - explained(extra)) ** 2, axis=0)
    spread = jnp.sqrt(rest / (jnp.sum(rows, axis=0) - 1))
    scale = jnp.maximum(jnp.linalg.norm(pull), jnp.finfo(pull.dtype).tiny)
    residual = jnp.linalg.norm(curved(extra) - pull) / scale
    return found, level, spread, residual
