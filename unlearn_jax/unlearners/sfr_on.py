"""Now and then a step up the loss of what goes, always one down that of the rest.

After Huang et al. (NeurIPS 2024), "unified gradient-based machine unlearning
with remain geometry enhancement". Steps up move only weights that matter at
least as much to what goes as to what stays, by the mean squared gradient of an
example, and rows that are badly answered already count less. The moving average
of the weights is left out: in the released settings it does nothing.
"""

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import errors, keys, losses, optimizers, step
from unlearn_jax.unlearners import _door, _looks, _passes

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-3, 0.1), 'ascent': (0.1, 100.0)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 0.01,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  ascent: float = 25.0,
  every: int = 5,
  clip: float = 7.0,
  epochs: int = 10,
  batch_size: int = 64,
):
  """Rates of both kinds of steps fall along a cosine.

  Args:
    learning_rate: of SGD, for both.
    momentum: of the steps down; those up have none.
    weight_decay: added to the gradient of the steps down.
    ascent: factor on the loss of what goes, at the beginning.
    every: a step up stands before the first of each so many steps down.
    clip: largest norm of the gradient of a step up.
    epochs: passes over what stays; as many as give 1,500 steps, as published.
    batch_size: rows of each kind in a step.
  """
  if every < 1:
    raise errors.ConfigError(f'every is at least 1, got {every}')
  down = _passes.trainer(
    model, data, _passes.sgd(learning_rate, momentum, weight_decay)
  )
  up = _passes.trainer(
    model,
    data,
    optax.chain(optax.clip_by_global_norm(clip), optax.sgd(learning_rate)),
    kept=_theirs(model, params, data),
  )
  descent = down.step(_passes.moving(model, data.loss, data), optimizers.cosine)

  def climb(state, batch, key, progress):
    strength = ascent * optimizers.cosine(progress)

    def objective(params, batch, row_keys):
      del row_keys
      loss = data.loss(model.apply(params, batch.x), batch.y)
      return step.Objective(
        -strength * losses.masked_mean(_even(loss, batch.weight), batch.weight)
      )

    params = up.step(objective)(up.begin(state.params), batch, key)[0].params
    return state._replace(params=params)

  def both(state, batch, key, progress):
    stays, goes = _passes.split(batch, batch_size)
    state = jax.lax.cond(
      state.step % every == 0,
      climb,
      lambda state, *_: state,
      state,
      goes,
      key,
      progress,
    )
    return descent(state, stays, key, progress)

  def an_epoch(epoch, state):
    return _passes.a_pass(
      both,
      state,
      data.retain,
      keys.stream(key, 'pass', epoch),
      batch_size=batch_size,
      part=(epoch, epochs),
      beside=data.forget,
    )

  _passes.spend_passes(data, data.retain, epochs, batch_size)
  steps = epochs * ((data.retain.count + batch_size - 1) // batch_size)
  data.spend('gradients', (steps + every - 1) // every * batch_size)
  return jax.lax.fori_loop(0, epochs, an_epoch, down.begin(params)).params


def _theirs(model, params, data):
  """The weights that matter at least as much to what goes."""
  goes, stays = (
    _looks.squared_gradients(model, params, data, rows, data.loss)
    for rows in (data.forget, data.retain)
  )
  return jax.tree.map(jnp.greater_equal, goes, stays)


def _even(loss, weight):
  """Losses times weights that fall with them and are 1 on average."""
  counts = jax.lax.stop_gradient(jnp.maximum(loss, 1e-6)) ** -0.5
  return loss * counts / losses.masked_mean(counts, weight)


make = _door.door(unlearn, READS)
