"""Answers about what goes as a model that never saw it. For regression.

After Tarun et al., "Deep Regression Unlearning" (ICML 2023). A model that is
shortly trained from a new start on what stays is poor, but blind to what goes.
The model learns its outputs and features there, and the targets elsewhere, in
batches of both.

The published method compares the maps of every layer. A model here shows its
last features alone, so that those are compared.
"""

import jax.numpy as jnp

from unlearn_jax import keys, losses, step
from unlearn_jax.unlearners import _door, _looks, _passes

READS = ('forget.x', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 1e-3,
  attention: float = 50.0,
  blind_learning_rate: float = 0.01,
  blind_epochs: int = 2,
  epochs: int = 1,
  batch_size: int = 64,
):
  """Trains the blind model, then the model on all inputs, both with Adam.

  Args:
    learning_rate: of the model.
    attention: weight of the features against the outputs.
    blind_learning_rate: of the blind model.
    blind_epochs: passes of the blind model over what stays; few, or it is a
      retrained model.
    epochs: passes over all rows.
    batch_size: of both.
  """
  _passes.check_task(data, 'regression')
  start = _passes.fresh(model, params, keys.stream(key, 'init'), data.retain.x)
  blind = _passes.descend(
    # Nothing is held: it is thrown away.
    _passes.Trainer(
      model, data, _passes.adam(blind_learning_rate), model.trainable
    ),
    start,
    data.retain,
    _passes.moving(model, _distance, data),
    keys.stream(key, 'blind'),
    epochs=blind_epochs,
    batch_size=batch_size,
  )
  return _passes.descend(
    _passes.trainer(model, data, _passes.adam(learning_rate)),
    params,
    _taught(model, blind, data),
    _objective(model, attention),
    keys.stream(key, 'taught'),
    epochs=epochs,
    batch_size=batch_size,
  )


def _taught(model, blind, data):
  """All rows: what goes with the answers of the blind model."""

  def answers(x):
    found = model.forward(blind, x)
    return found.logits, _map(found.features)

  goals, maps = _looks.by_batches(answers, data.forget.x)
  data.spend('outputs', data.forget.count)
  n = len(data.retain.id)
  goes = {'goal': goals, 'map': maps, 'goes': jnp.ones(len(goals))}
  stays = {
    'goal': data.retain.y,
    'map': jnp.zeros((n, maps.shape[1])),
    'goes': jnp.zeros(n),
  }
  return _passes.join(
    data.forget._replace(y=goes), data.retain._replace(y=stays)
  )


def _objective(model, attention):
  """In evaluation mode: what goes shall leave no trace in statistics."""

  def objective(params, batch, row_keys):
    del row_keys
    found = model.forward(params, batch.x)
    apart = jnp.mean((_map(found.features) - batch.y['map']) ** 2, axis=-1)
    loss = _distance(found.logits, batch.y['goal'])
    loss += attention * batch.y['goes'] * apart
    return step.Objective(losses.masked_mean(loss, batch.weight))

  return objective


def _distance(outputs, y):
  return jnp.mean(jnp.abs(outputs - y), axis=-1)


def _map(features):
  """Where the features are large, whatever their scale."""
  squares = features**2
  # Never 0, where the root has no derivative.
  length = jnp.sqrt(jnp.sum(squares**2, axis=-1, keepdims=True) + 1e-12)
  return squares / length


make = _door.door(unlearn, READS)
