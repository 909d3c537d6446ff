"""Draws anew the weights that distinguish least, and relearns what stays.

One of the methods that came out first in the comparison of Cadet et al., "Deep
Unlearn" (2024). What distinguishes is the gradient of the loss of as many
random rows that stay as go, minus that of the rows that go. In each kernel the
part with the smallest gradients begins anew, and fine-tuning moves the others
slowly.
"""

import math

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import errors, keys, optimizers, trees
from unlearn_jax.unlearners import _blocks, _door, _looks, _parts, _passes

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  share: float = 0.3,
  slow: float = 0.1,
  learning_rate: float = 1e-3,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  epochs: int = 5,
  batch_size: int = 64,
):
  """Kernels are those of convolutions, or, in a model that has none, of all
  dense layers but the last block.

  Args:
    share: of the entries of each kernel that begin anew.
    slow: factor on the gradient of its other entries.
    learning_rate: of SGD, at its highest: it rises in the first half of the run
      and falls to 0 in the second.
    momentum: of SGD.
    weight_decay: added to the gradient.
    epochs: passes over what stays.
    batch_size: rows of a step.
  """
  anew = _weakest(model, params, data, keys.stream(key, 'rows'), share)
  live, frozen = trees.partition(params, model.trainable)
  start = {
    path: jnp.where(
      anew[path], _drawn(keys.stream(key, 'new', i), leaf.shape), leaf
    )
    if path in anew
    else leaf
    for i, (path, leaf) in enumerate(live.items())
  }
  start = _passes.hold(model, data, params, trees.merge(frozen, start))
  pace = {
    path: jnp.where(anew[path], 1.0, slow) if path in anew else 1.0
    for path in live
  }
  optimizer = optax.chain(
    optax.stateless(lambda g, _: jax.tree.map(jnp.multiply, g, pace)),
    _passes.sgd(learning_rate, momentum, weight_decay),
  )
  return _passes.descend(
    _passes.trainer(model, data, optimizer),
    start,
    data.retain,
    _passes.moving(model, data.loss, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
    schedule=optimizers.make_schedule('linear', warmup=0.5),
  )


def _weakest(model, params, data, key, share):
  """Masks of kernels: what is drawn anew."""
  like = data.forget.count / data.retain.count
  others = _passes.some(data.retain, jnp.minimum(like, 1.0), key)
  goes, stays = (
    _looks.mean_gradient(model, params, data, rows, data.loss)
    for rows in (data.forget, others)
  )
  held = data.kept or {}
  return {
    path: _parts.smallest(
      jnp.abs(stays[path] - goes[path]), share, held.get(path)
    )
    for path in _kernels(model, params, data.forget.x, goes)
  }


def _kernels(model, params, x, live) -> list[str]:
  windows = [path for path, leaf in live.items() if leaf.ndim == 4]
  if windows:
    return windows
  head = _blocks.in_order(model, params, x)[-1]
  dense = [
    path
    for path, leaf in live.items()
    if leaf.ndim == 2 and path.split('/')[0] not in head
  ]
  if not dense:
    raise errors.ConfigError(
      'it draws kernels before the last block anew, and none of them trains: '
      f'{", ".join(live)}'
    )
  return dense


def _drawn(key, shape):
  """Normal, with the variance that keeps the size of gradients."""
  spread = math.sqrt(2.0 / (math.prod(shape[:-2]) * shape[-1]))
  return spread * jax.random.normal(key, shape)


make = _door.door(unlearn, READS)
