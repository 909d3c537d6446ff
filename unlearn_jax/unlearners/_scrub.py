"""Passes away from the teacher on what goes, towards it on what stays.

After Kurmanji et al. (NeurIPS 2023). The teacher is the model as it was; its
answers are asked for once, without augmentation. There is one optimizer, of the
student, and its state goes through all passes.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import keys
from unlearn_jax.unlearners import _looks, _passes, _teaching


def descend(
  train: _passes.Trainer,
  params,
  key,
  *,
  imitation,
  labels,
  temperature,
  ascents: int,
  epochs: int,
  forget_batch_size: int,
  batch_size: int,
  after_epoch=lambda params: None,
):
  """The student, and what `after_epoch` says of it after each epoch."""
  model, data = train.model, train.data
  _passes.check_task(data, 'classification')
  goes = data.forget._replace(
    y={'teacher': _looks.outputs(model, params, data, data.forget)}
  )
  stays = data.retain._replace(
    y={
      'label': data.retain.y,
      'teacher': _looks.outputs(model, params, data, data.retain),
    }
  )

  def apart(logits, y):
    return temperature**2 * _teaching.divergence(
      logits, y['teacher'], temperature
    )

  def away(logits, y):
    return -apart(logits, y)

  def toward(logits, y):
    return labels * data.loss(logits, y['label']) + imitation * apart(logits, y)

  leave = train.step(_passes.still(model, away))
  follow = train.step(_passes.moving(model, toward, data))

  def ascend(epoch, state):
    return _passes.a_pass(
      leave,
      state,
      goes,
      keys.stream(key, 'ascent', epoch),
      batch_size=forget_batch_size,
    )

  def an_epoch(state, epoch):
    state = jax.lax.cond(
      epoch < ascents, ascend, lambda _, state: state, epoch, state
    )
    state = _passes.a_pass(
      follow,
      state,
      stays,
      keys.stream(key, 'descent', epoch),
      batch_size=batch_size,
    )
    return state, after_epoch(state.params)

  _passes.spend_passes(data, goes, min(ascents, epochs), forget_batch_size)
  _passes.spend_passes(data, stays, epochs, batch_size)
  state, found = jax.lax.scan(an_epoch, train.begin(params), jnp.arange(epochs))
  return state.params, found
