"""What methods ask of a model without training it: its answers and gradients.

As in `_passes`, for one model and inside a program; what is asked for is noted.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from unlearn_jax import trees, types
from unlearn_jax.unlearners import _passes


def outputs(
  model: types.Model,
  params: types.Params,
  data: _passes.Data,
  rows: _passes.Rows,
) -> jax.Array:
  """Logits [n, outputs] in evaluation mode; those of padding mean nothing."""
  data.spend('outputs', rows.count)
  return by_batches(functools.partial(model.apply, params), rows.x)


def by_batches(function: Callable[..., Any], x: jax.Array, size: int = 256):
  """`function` of all rows, some at a time."""
  n = len(x)
  size = min(size, n)
  padded = jnp.pad(x, [(0, -n % size)] + [(0, 0)] * (x.ndim - 1))
  found = jax.lax.map(function, padded.reshape(-1, size, *x.shape[1:]))
  return jax.tree.map(
    lambda leaf: leaf.reshape(len(padded), *leaf.shape[2:])[:n], found
  )


def total(
  function: Callable[[_passes.Rows], Any], rows: _passes.Rows, size: int = 64
) -> Any:
  """The sum of `function` of batches, a tree; padding has weight 0."""
  n = len(rows.id)
  size = min(size, n)
  batches = jax.tree.map(
    lambda leaf: jnp.pad(
      leaf, [(0, -n % size)] + [(0, 0)] * (leaf.ndim - 1)
    ).reshape(-1, size, *leaf.shape[1:]),
    rows._replace(count=None),
  )

  def add(sums, batch):
    return jax.tree.map(jnp.add, sums, function(batch)), None

  first = jax.tree.map(lambda leaf: leaf[0], batches)
  zero = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
    jax.eval_shape(function, first),
  )
  return jax.lax.scan(add, zero, batches)[0]


def mean_gradient(
  model: types.Model,
  params: types.Params,
  data: _passes.Data,
  rows: _passes.Rows,
  loss: _passes.Loss,
) -> Any:
  """The gradient of the mean loss of `rows`, in evaluation mode."""
  live, frozen = trees.partition(params, model.trainable)
  data.spend('gradients', rows.count)

  def of_batch(batch):
    def summed(live):
      logits = model.apply(trees.merge(frozen, live), batch.x)
      return jnp.sum(loss(logits, batch.y) * batch.weight)

    return jax.grad(summed)(live)

  return _per_row(total(of_batch, rows), rows)


def squared_gradients(
  model: types.Model,
  params: types.Params,
  data: _passes.Data,
  rows: _passes.Rows,
  loss: _passes.Loss,
) -> Any:
  """The mean over examples of their squared gradients, in evaluation mode."""
  return mean_of_gradients(jnp.square, model, params, data, rows, loss)


def mean_of_gradients(
  function: Callable[[jax.Array], jax.Array],
  model: types.Model,
  params: types.Params,
  data: _passes.Data,
  rows: _passes.Rows,
  loss: _passes.Loss,
  size: int = 16,
) -> Any:
  """The mean over examples of `function` of their gradients.

  An example at a time: the square of a batch's mean gradient is another, much
  smaller thing, which depends on the size of the batch. Here `size` says how
  many of them are in memory, and nothing else.
  """
  live, frozen = trees.partition(params, model.trainable)
  data.spend('gradients', rows.count)

  def of_example(x, y):
    def one(live):
      logits = model.apply(trees.merge(frozen, live), x[None])
      return loss(logits, jax.tree.map(lambda leaf: leaf[None], y))[0]

    return jax.grad(one)(live)

  def of_batch(batch):
    gradients = jax.vmap(of_example)(batch.x, batch.y)
    return jax.tree.map(
      lambda leaf: jnp.tensordot(batch.weight, function(leaf), 1), gradients
    )

  return _per_row(total(of_batch, rows, size), rows)


def _per_row(sums, rows: _passes.Rows):
  return jax.tree.map(lambda leaf: leaf / jnp.maximum(rows.count, 1), sums)
