"""Fine-tuning under an l1 penalty: few weights, little memory.

After Jia et al. (2023). `form='proximal'`, the default, shrinks the kernels
after every step, so that zeros are exact; in the last part of the run, where
the penalty no longer holds them, what is zero stays zero. The penalty falls, as
published; `schedule='constant'` keeps it up until that last part, without which
most zeros grow again. `form='legacy'` is the published sub-gradient over all
parameters, which leaves none at zero.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import errors, trees
from unlearn_jax.unlearners import _door, _passes

READS = ('retain.x', 'retain.y')
TUNED = {'penalty': (1e-05, 0.01), 'learning_rate': (0.001, 0.2)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  penalty: float = 5e-4,
  learning_rate: float = 0.01,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  free: float = 0.2,
  form: str = 'proximal',
  schedule: str = 'linear',
  epochs: int = 10,
  batch_size: int = 64,
):
  """The penalty falls from `penalty` to 0, the last `free` of the run is at 0."""
  errors.check_choice('form', form, ('proximal', 'legacy'))
  errors.check_choice('schedule', schedule, ('linear', 'constant'))
  steps = epochs * ((data.retain.count + batch_size - 1) // batch_size)

  def strength(count):
    left = jnp.maximum(0.0, 1.0 - count / (steps * (1.0 - free)))
    return penalty * (left if schedule == 'linear' else left > 0)

  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  if form == 'proximal':
    optimizer = _shrinking(optimizer, learning_rate, strength)
  else:
    optimizer = optax.chain(_signs(strength), optimizer)
  return _passes.descend(
    _passes.trainer(model, data, optimizer),
    params,
    data.retain,
    _passes.moving(model, data.loss, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


class _State(NamedTuple):
  count: jax.Array
  inner: optax.OptState


def _shrinking(optimizer, learning_rate, strength):
  """`optimizer`, then kernels a little nearer to 0, and at 0 if they cross."""

  def init(params):
    return _State(jnp.zeros((), jnp.int32), optimizer.init(params))

  def update(gradient, state, params):
    updates, inner = optimizer.update(gradient, state.inner, params)
    now = strength(state.count)

    def shrunk(path, move, leaf):
      if not _is_kernel(path):
        return move
      aim = leaf + move
      aim = jnp.sign(aim) * jnp.maximum(jnp.abs(aim) - learning_rate * now, 0)
      # Once nothing pulls, what is zero would grow again.
      aim = jnp.where((now == 0) & (leaf == 0), 0.0, aim)
      return aim - leaf

    moves = jax.tree_util.tree_map_with_path(
      lambda path, *pair: shrunk(trees.path_name(path), *pair), updates, params
    )
    return moves, _State(state.count + 1, inner)

  return optax.GradientTransformation(init, update)


def _signs(strength):
  """Adds the sub-gradient of the penalty."""

  def init(params):
    del params
    return jnp.zeros((), jnp.int32)

  def update(gradient, count, params):
    now = strength(count)
    added = jax.tree.map(lambda g, p: g + now * jnp.sign(p), gradient, params)
    return added, count + 1

  return optax.GradientTransformation(init, update)


def _is_kernel(path: str) -> bool:
  return path.endswith('kernel')


make = _door.door(unlearn, READS)
