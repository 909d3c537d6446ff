"""Trains anew with what stays: what all other methods are measured against.

Exact, and as dear as the first training. With the settings of the original it
draws an oracle; with fewer epochs it is a baseline of that cost.
"""

import jax.numpy as jnp

from unlearn_jax import keys, optimizers
from unlearn_jax.unlearners import _door, _passes

READS = ('retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-2, 1.0)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 0.1,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  warmup: float = 0.2,
  schedule: str = 'linear',
  epochs: int = 30,
  batch_size: int = 64,
):
  """From a start of its own; held weights stay as they are, as pruned ones do.

  Args:
    learning_rate: of SGD, at its highest. The usual recipe of a ResNet-18 is
      0.1 with momentum 0.9 and decay 5e-4.
    momentum: of SGD.
    weight_decay: added to the gradient.
    warmup: part of the run in which the rate rises.
    schedule: how it falls after that: 'linear', 'cosine' or 'constant'.
    epochs: passes over what stays.
    batch_size: rows of a step.
  """
  falling = optimizers.make_schedule(schedule)

  def rate(progress):
    rising = progress / jnp.maximum(warmup, 1e-6)
    rest = (progress - warmup) / jnp.maximum(1.0 - warmup, 1e-6)
    return jnp.where(progress < warmup, rising, falling(rest))

  start = _passes.renewed(
    model, params, data, keys.stream(key, 'init'), data.retain.x
  )
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  return _passes.descend(
    _passes.trainer(model, data, optimizer),
    start,
    data.retain,
    _passes.moving(model, data.loss, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
    schedule=rate,
  )


make = _door.door(unlearn, READS)
