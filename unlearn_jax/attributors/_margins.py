"""Gradients of the margin, example by example, projected.

With the margin m = log p / (1 - p) the loss is log(1 + exp(-m)) exactly: its
first derivative in m is -(1 - p) and its second p (1 - p). So these gradients
and p are all that methods built on the margin need, for any number of classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.flatten_util import ravel_pytree

from unlearn_jax import errors, keys, losses, trees, types
from unlearn_jax.attributors import _projection, _sums, _words


class Margins(NamedTuple):
  """What one model says about the examples, and how it could be moved.

  On the host in float64: what is solved with them is badly conditioned.
  """

  examples: np.ndarray  # [n, d] projected gradients of the margin
  points: np.ndarray  # [p, d]
  missing: np.ndarray  # [n] 1 - p of the label
  params: np.ndarray  # [d] the parameters, projected alike

  @property
  def curvature(self) -> np.ndarray:
    """p (1 - p), [n]: the second derivative of the loss in the margin."""
    return self.missing * (1 - self.missing)


def of_models(
  setting: _words.Setting,
  *,
  dim: int | None,
  projection: str,
  chunk: int,
  block: int,
  seed: int,
) -> tuple[int, Callable[[int], Margins]]:
  """The number of models, and `margins(j)` of the j-th.

  Args:
    setting: models and examples.
    dim: width of the projection; None keeps every parameter.
    projection: 'rademacher' or 'gaussian'.
    chunk: examples whose gradients are held at once.
    block: parameters whose rows of the projection are held at once.
    seed: of the projection; each model has its own.
  """
  _projection.check(dim, projection, block)
  if np.asarray(setting.y).dtype.kind not in 'iu':
    raise errors.ConfigError('margins need classes: y holds no integers')
  key = keys.stream(keys.root(seed), 'projection')

  def project(vector, key):
    return _projection.project(
      vector, key, dim=dim, kind=projection, block=block
    )

  @jax.jit
  def gradients(params, key, x, y):
    live, fixed = trees.partition(params, types.not_stats)
    flat, unravel = ravel_pytree(live)

    def of_example(example):
      def margin(flat):
        params = trees.merge(fixed, unravel(flat))
        logits = setting.apply(params, example[0][None])
        return losses.margin(logits, example[1][None])[0]

      value, gradient = jax.value_and_grad(margin)(flat)
      return project(gradient, key), value

    projected, values = jax.lax.map(jax.vmap(of_example), (x, y))
    return (
      projected.reshape(-1, projected.shape[-1]),
      values.reshape(-1),
      project(flat, key),
    )

  # Examples and points together: one program, compiled once.
  n, p = len(setting.x), len(setting.points)
  x = _sums.cut(np.concatenate([setting.x, setting.points]), chunk)
  y = _sums.cut(np.concatenate([setting.y, setting.labels]), chunk)

  def margins(j):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf[j]), setting.params)
    own = keys.stream(key, 'model', j)
    rows, values, flat = (
      np.asarray(array, np.float64) for array in gradients(params, own, x, y)
    )
    missing = scipy.special.expit(-values[:n])
    return Margins(rows[:n], rows[n : n + p], missing, flat)

  return len(jax.tree.leaves(setting.params)[0]), margins
