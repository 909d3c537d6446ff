"""Gradients and curvature of a model's loss, summed over weighted examples.

Summed, not averaged: an example adds to them what it adds, whoever else is
there.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from unlearn_jax import curvature, losses, trees, types
from unlearn_jax.attributors import _words


class Sums:
  """Of one model, as functions of flat vectors of its parameters.

  `examples` are the inputs and labels, cut into batches, and so is every
  `weight`.
  """

  def __init__(self, setting: _words.Setting, params, examples):
    live, fixed = trees.partition(params, types.not_stats)
    self.flat, unravel = ravel_pytree(live)
    self.examples, self.decay = examples, setting.decay
    classes = np.asarray(setting.y).dtype.kind in 'iu'
    self.loss = losses.cross_entropy if classes else losses.squared_error
    self.logits = lambda flat, x: setting.apply(
      trees.merge(fixed, unravel(flat)), x
    )

  def gradient(self, weight):
    """Of the losses, each with its part of the decay."""

    def of_batch(x, y, weight):
      def total(flat):
        return jnp.sum(weight * self.loss(self.logits(flat, x), y))

      return jax.grad(total)(self.flat)

    return self._sum(of_batch, weight) + self.decay * weight.sum() * self.flat

  def curvature(self, vector, weight):
    """The Gauss-Newton matrix of the losses, without decay, times `vector`."""

    def of_batch(x, y, weight):
      return curvature.gauss_newton(
        lambda flat: self.logits(flat, x),
        lambda z: jnp.sum(weight * self.loss(z, y)),
        self.flat,
        vector,
      )

    return self._sum(of_batch, weight)

  def along(self, vector, x):
    """How the logits of `x` change as the parameters move along `vector`."""
    _, moved = jax.jvp(
      lambda flat: self.logits(flat, x), (self.flat,), (vector,)
    )
    return moved

  def _sum(self, of_batch, weight):
    def add(total, batch):
      return total + of_batch(*batch), None

    batches = (*self.examples, weight)
    return jax.lax.scan(add, jnp.zeros_like(self.flat), batches)[0]


def cut(array: np.ndarray, chunk: int) -> np.ndarray:
  """[batches, chunk, ...], the last batch filled up with the first row: no
  model can mind that one, and it weighs nothing there."""
  chunk, missing = _shape(len(array), chunk)
  filled = np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
  return filled.reshape(-1, chunk, *array.shape[1:])


def cut_weights(weight: np.ndarray, chunk: int) -> np.ndarray:
  """[batches, chunk] float32, 0 for the rows that `cut` fills up with."""
  chunk, missing = _shape(len(weight), chunk)
  return np.pad(weight.astype(np.float32), (0, missing)).reshape(-1, chunk)


def _shape(count, chunk):
  chunk = min(chunk, count)
  return chunk, -count % chunk
