"""Trains on with random targets for what goes. For regression.

After Tarun et al., "Deep Regression Unlearning" (ICML 2023): the targets are
drawn from a normal distribution with the mean and spread of those that stay,
where a classifier would be taught random labels.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import keys
from unlearn_jax.unlearners import _door, _passes

READS = ('forget.x', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 1e-3,
  epochs: int = 1,
  batch_size: int = 64,
):
  """Adam on all inputs, in evaluation mode: what goes shall leave no trace in
  statistics of layers."""
  _passes.check_task(data, 'regression')
  targets, weight = data.retain.y, data.retain.weight[:, None]
  mean, spread = _moments(targets, weight, data.retain.count)
  row_keys = keys.rows(keys.stream(key, 'targets'), data.forget.id)
  drawn = jax.vmap(lambda k: jax.random.normal(k, mean.shape[1:]))(row_keys)
  rows = _passes.join(
    data.forget._replace(y=mean + spread * drawn), data.retain
  )
  return _passes.descend(
    _passes.trainer(model, data, _passes.adam(learning_rate)),
    params,
    rows,
    _passes.still(model, data.loss),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


def _moments(targets, weight, count):
  """Mean and standard deviation, [1, outputs]."""
  mean = jnp.sum(weight * targets, 0, keepdims=True) / count
  squares = jnp.sum(weight * (targets - mean) ** 2, 0, keepdims=True)
  return mean, jnp.sqrt(squares / count)


make = _door.door(unlearn, READS)
