"""Trains what goes on labels that are wrong, and what stays on its own."""

import jax

from unlearn_jax import errors, keys
from unlearn_jax.unlearners import _passes

FORMS = ('wrong', 'legacy')
ORDERS = ('sequential', 'mixed')


def drawn(rows, classes: int, key, form: str):
  """A label for each row, never its own, or as published: any of all."""
  low = 0 if form == 'legacy' else 1
  steps = jax.vmap(lambda one: jax.random.randint(one, (), low, classes))(
    keys.rows(key, rows.id)
  )
  return ((rows.y + steps) % classes).astype(rows.y.dtype)


def descend(
  train: _passes.Trainer,
  params,
  key,
  *,
  epochs: int,
  batch_size: int,
  order: str,
  form: str,
):
  """Passes over both, with new labels in each epoch."""
  errors.check_choice('order', order, ORDERS)
  errors.check_choice('form', form, FORMS)
  model, data = train.model, train.data
  _passes.check_task(data, 'classification')
  as_trained = train.step(_passes.moving(model, data.loss, data))
  # What goes must not move the statistics of layers; as published, it does.
  alone = as_trained
  if form == 'wrong':
    alone = train.step(_passes.still(model, data.loss))

  def an_epoch(epoch, state):
    labels = drawn(
      data.forget,
      data.task.num_outputs,
      keys.stream(key, 'labels', epoch),
      form,
    )
    goes = data.forget._replace(y=labels)
    if order == 'mixed':
      turns = [(as_trained, _passes.join(goes, data.retain))]
    else:
      turns = [(alone, goes), (as_trained, data.retain)]
    for i, (step, rows) in enumerate(turns):
      state = _passes.a_pass(
        step,
        state,
        rows,
        keys.stream(key, 'pass', epoch, i),
        batch_size=batch_size,
      )
    return state

  for rows in (data.forget, data.retain):
    _passes.spend_passes(data, rows, epochs, batch_size)
  state = train.begin(params)
  return jax.lax.fori_loop(0, epochs, an_epoch, state).params
