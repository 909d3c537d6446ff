"""Curves of relearning: copies of many models, fine-tuned on what they forgot.

All models go side by side in one program, over the same orders of the data,
and after every step the whole forget set is looked at. What was passed in is
never changed. The metric that reads the curves is `metrics/relearn.py`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unlearn_jax import errors, keys, losses, step, training, types
from unlearn_jax.fleet import fleet
from unlearn_jax.metrics.relearn import Curves

_EVAL_BATCH = 256  # rows of a model's forward pass at once


def curves(
  model: types.Model,
  params: types.Params,
  forget: types.Dataset,
  *,
  optimizer: optax.GradientTransformation,
  batch_size: int,
  steps: int,
  orders: int = 5,
  seed: int = 0,
  width: int = 4,
  looked_at: int | None = None,
) -> Curves:
  """Loss and accuracy on `forget` before and after every step.

  Args:
    model: of all of them.
    params: of the models side by side, leaves [models, ...].
    forget: what is learned again; a regression has no accuracy.
    optimizer: of each fine-tuning, begun anew.
    batch_size, steps: of each fine-tuning.
    orders: of the data, the same for all models with the same `seed`.
    seed: of the orders and of what is random in a step.
    width: models that share an operation.
    looked_at: rows, the first ones, that are looked at after each step, which
      otherwise takes longer than the steps; None: all.
  """
  if not len(forget):
    raise errors.DataError(f'{forget.name} has no rows to learn again')
  sizes = {'batch_size': batch_size, 'steps': steps, 'orders': orders}
  for name, size in sizes.items():
    if size < 1:
      raise errors.ConfigError(f'{name} of relearning is 1 or more, got {size}')
  x, y, ids, _ = forget.all()
  shared = (
    step.Table(x, y, keys.id_words(ids)),
    _plans(ids, **sizes, seed=seed),
    _in_order(min(len(ids), looked_at or len(ids))),
    keys.stream(keys.root(seed), 'relearn'),
  )
  run = _program(model, forget.task, optimizer, width)
  count = len(jax.tree.leaves(params)[0])
  parts = [
    jax.device_get(
      run(shared, (jax.tree.map(lambda leaf, i=some: leaf[i], params),))
    )
    for some in fleet.chunks(count, width)
  ]
  loss, accuracy = (np.concatenate(part) for part in zip(*parts, strict=True))
  classification = forget.task.kind == 'classification'
  return Curves(loss, accuracy if classification else None)


def _plans(ids, *, batch_size, steps, orders, seed) -> np.ndarray:
  """Positions of every batch, [orders, steps, batch], -1 for padding."""
  epochs = math.ceil(steps * batch_size / len(ids))
  return np.stack(
    [
      training.plan(
        ids, epochs=epochs, batch_size=batch_size, seed=seed * orders + i
      )[:steps]
      for i in range(orders)
    ]
  )


def _in_order(rows: int) -> np.ndarray:
  """Every position once, [batches, batch], -1 for padding."""
  batch = min(_EVAL_BATCH, rows)
  filled = np.full(rows + -rows % batch, -1, np.int32)
  filled[:rows] = np.arange(rows)
  return filled.reshape(-1, batch)


@functools.lru_cache(maxsize=8)
def _program(model: types.Model, task: types.Task, optimizer, width: int):
  loss = losses.of_task(task)
  # A squared error is no answer that is right or wrong; its place stays empty.
  right = losses.correct if task.kind == 'classification' else loss
  one_step = step.make_step(
    step.supervised(model, loss), optimizer, trainable=model.trainable
  )

  def evaluate(table, params, batches):
    def of_a_batch(positions):
      batch = step.gather(table, positions)
      logits = model.apply(params, batch.x)
      return [
        jnp.sum(jnp.where(batch.weight > 0, f(logits, batch.y), 0))
        for f in (loss, right)
      ]

    rows = jnp.sum(batches >= 0)
    return [jnp.sum(part) / rows for part in jax.lax.map(of_a_batch, batches)]

  def of_a_model(shared, params):
    table, plans, batches, key = shared
    before = evaluate(table, params, batches)

    def of_an_order(order):
      index, plan = order

      def a_step(state, positions):
        state, _ = one_step(
          state,
          step.gather(table, positions),
          keys.stream(key, 'order', index),
        )
        return state, evaluate(table, state.params, batches)

      start = step.init_state(params, optimizer, model.trainable)
      _, after = jax.lax.scan(a_step, start, plan)
      return [
        jnp.concatenate([first[None], rest])
        for first, rest in zip(before, after, strict=True)
      ]

    return jax.lax.map(of_an_order, (jnp.arange(len(plans)), plans))

  return fleet.spread(of_a_model, width)
