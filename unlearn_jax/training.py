"""Fitting and evaluating one model, driven from the host.

The loop over steps runs inside one compiled program; the host only cuts it in
chunks, to show progress and to evaluate. Where it is cut changes no bit.
"""

import functools
import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unlearn_jax import augment as augment_lib
from unlearn_jax import errors, keys, losses, optimizers, step, trees, types

_EVAL_BATCH = 128  # larger ones fall out of the cache of a CPU
_SECONDS_A_CHUNK = 2.0


class Progress(NamedTuple):
  """Where a fit stands after a chunk."""

  state: step.TrainState
  row: int  # steps done
  total: int  # steps of the whole fit
  loss: float  # mean over the steps of this epoch so far
  epoch_ended: bool


def table(data: types.Dataset) -> step.Table:
  """The whole data set on the device."""
  x, y, ids, _ = data.all()
  return step.Table(*jax.device_put((x, y, keys.id_words(ids))))


def plan(ids: np.ndarray, *, epochs: int, batch_size: int, seed: int):
  """Positions of every batch, [steps, batch] int32, -1 where it is padding.

  Each epoch is in keyed-hash order of the ids, so survivors of a deletion keep
  their relative order.
  """
  steps = math.ceil(len(ids) / batch_size)
  rows = np.full((epochs, steps * batch_size), -1, np.int32)
  for epoch in range(epochs):
    rows[epoch, : len(ids)] = keys.order(ids, f'{seed}/epoch {epoch}')
  return rows.reshape(epochs * steps, batch_size)


def fit(
  model: types.Model,
  data: types.Dataset,
  *,
  optimizer: optax.GradientTransformation,
  batch_size: int,
  epochs: int,
  seed: int,
  schedule: optimizers.Schedule = optimizers.constant,
  augment: augment_lib.Augment | None = None,
  label_smoothing: float = 0.0,
  state: step.TrainState | None = None,
) -> Iterator[Progress]:
  """Trains `model` on `data`; yields after every chunk and epoch.

  Each yielded state is consumed by the next chunk: copy what is to outlive it.

  Args:
    model: the model.
    data: the training set.
    optimizer: with a constant rate.
    batch_size: rows of a step; the last batch of an epoch is padded to it.
    epochs: passes over the data.
    seed: of the initialization, the order, dropout and augmentation.
    schedule: factor of the progress that scales the updates.
    augment: changes the training inputs.
    label_smoothing: of the cross entropy.
    state: where an interrupted fit goes on; it ends with the same bits. The
      loss of its first epoch is the mean over the steps from there.
  """
  if not len(data):
    raise errors.DataError(f'{data.name} has no rows to train on')
  key = keys.root(seed)
  if state is None:
    state = initial_state(model, data, optimizer, seed)
  rows = plan(data.ids, epochs=epochs, batch_size=batch_size, seed=seed)
  steps_an_epoch = len(rows) // epochs
  loss = losses.of_task(data.task)
  if label_smoothing:
    loss = functools.partial(loss, label_smoothing=label_smoothing)
  loop = jax.jit(
    step.make_loop(
      step.make_step(
        step.supervised(model, loss, augment),
        optimizer,
        schedule=schedule,
        trainable=model.trainable,
      )
    ),
    donate_argnums=0,
  )
  on_device = table(data)
  plan_on_device = jax.device_put(rows)
  # The first chunk is one step: it compiles, and tells the time of a step.
  begin, chunk = int(state.step), 1
  summed_from, loss_sum = begin, np.float32(0)
  # The caller may still hold the state it gave us; ours is donated.
  state = jax.tree.map(jnp.copy, state)
  while begin < len(rows):
    epoch_end = (begin // steps_an_epoch + 1) * steps_an_epoch
    end = min(begin + chunk, epoch_end)
    started = time.monotonic()
    state, loss_sum = loop(
      state, on_device, plan_on_device, keys.stream(key, 'fit'), begin, end,
      len(rows), loss_sum,
    )  # fmt: skip
    mean_loss = float(loss_sum) / (end - summed_from)
    if not math.isfinite(mean_loss):
      raise errors.TrainingDiverged(
        f'the training loss is {mean_loss} between steps {begin} and {end}; '
        'a smaller learning rate or clip_norm may help'
      )
    if end == len(rows) and not trees.all_finite(state.params):
      # The last update comes after the last loss, and shows in no other.
      raise errors.TrainingDiverged(
        f'step {end}, the last one, left parameters that are not finite'
      )
    pace = (time.monotonic() - started) / (end - begin)
    yield Progress(state, end, len(rows), mean_loss, end == epoch_end)
    begin, chunk = end, max(1, min(10 * chunk, int(_SECONDS_A_CHUNK / pace)))
    if end == epoch_end:
      summed_from, loss_sum = end, np.float32(0)


def initial_state(
  model: types.Model,
  data: types.Dataset,
  optimizer: optax.GradientTransformation,
  seed: int,
) -> step.TrainState:
  """The state before the first step; only the shape of the data matters."""
  x = np.zeros((1, *data.input_shape), np.float32)
  params = model.init(keys.stream(keys.root(seed), 'init'), x)
  return step.init_state(params, optimizer, model.trainable)


def predict(model: types.Model, params: types.Params, data: types.Dataset):
  """Outputs [n, num_outputs] for every example, on the host."""
  outputs = [np.zeros((0, data.task.num_outputs), np.float32)]
  apply = _compiled_apply(model)
  for start in range(0, len(data), _EVAL_BATCH):
    stop = min(start + _EVAL_BATCH, len(data))
    x = data.take(np.arange(start, stop)).x
    padding = [(0, _EVAL_BATCH - len(x))] + [(0, 0)] * (x.ndim - 1)
    # Not read back yet: the next batch is prepared while this one computes.
    outputs.append(apply(params, np.pad(x, padding))[: len(x)])
  return np.concatenate([np.asarray(batch) for batch in outputs])


def evaluate(
  model: types.Model, params: types.Params, data: types.Dataset
) -> dict[str, float]:
  """Loss, and accuracy or R^2, of a model on a data set."""
  if not len(data):
    raise errors.DataError(f'{data.name} has no rows to evaluate on')
  outputs, y = predict(model, params, data), data.labels
  result = {'loss': float(np.mean(losses.of_task(data.task)(outputs, y)))}
  if data.task.kind == 'classification':
    return {**result, 'accuracy': float(np.mean(losses.correct(outputs, y)))}
  return {**result, 'r2': r_squared(result['loss'], y)}


def r_squared(loss: float, y: np.ndarray) -> float:
  """The part of the variance of targets that predictions explain."""
  return float(1 - loss / np.mean((y - np.mean(y, axis=0)) ** 2))


@functools.lru_cache(maxsize=8)
def _compiled_apply(model: types.Model):
  return jax.jit(model.apply)


def count_trainable(model: types.Model, params: types.Params) -> int:
  """Number of scalars a fit may move."""
  return trees.count(trees.partition(params, model.trainable)[0])
