"""Swaps height and width of every convolution kernel, and relearns what stays.

One of the methods that came out first in the comparison of Cadet et al., "Deep
Unlearn" (2024). A model without convolutions has nothing to swap and is
refused.
"""

import jax.numpy as jnp

from unlearn_jax import errors, optimizers, trees
from unlearn_jax.unlearners import _door, _passes

READS = ('retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 1e-3,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  epochs: int = 3,
  batch_size: int = 64,
):
  """Fine-tuning after the swap.

  Args:
    learning_rate: of SGD in the first epoch; it falls along a cosine, epoch by
      epoch.
    momentum: of SGD.
    weight_decay: added to the gradient.
    epochs: passes over what stays.
    batch_size: rows of a step.
  """

  def by_epoch(progress):
    # A little more, or rounding would put an epoch's first step before it.
    return optimizers.cosine(jnp.floor(progress * epochs + 1e-4) / epochs)

  start = _passes.hold(model, data, params, swapped(model, params))
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  return _passes.descend(
    _passes.trainer(model, data, optimizer),
    start,
    data.retain,
    _passes.moving(model, data.loss, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
    schedule=by_epoch,
  )


def swapped(model, params):
  """`params` with the first two axes of the convolutions that train swapped."""
  live, frozen = trees.partition(params, model.trainable)
  kernels = {path: leaf for path, leaf in live.items() if leaf.ndim == 4}
  if not kernels:
    raise errors.ConfigError(
      f'it needs convolutions that train, this model has only {", ".join(live)}'
    )
  for path, leaf in kernels.items():
    if leaf.shape[0] != leaf.shape[1]:
      raise errors.ConfigError(
        f'it needs square windows, {path} is {leaf.shape}'
      )
    live[path] = jnp.swapaxes(leaf, 0, 1)
  return trees.merge(frozen, live)


make = _door.door(unlearn, READS)
