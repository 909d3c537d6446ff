"""The one training step, and the loop that runs it inside a program.

Everything that trains builds on these two: plain fits, the exact engine,
fleets, unlearners, pruners. Nobody forks them, because the compiled step is
part of what a trained model is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import keys, losses, trees, types
from unlearn_jax import optimizers as optimizers_lib


class TrainState(NamedTuple):
  """All that a run carries from one step to the next."""

  params: types.Params
  opt_state: Any
  step: jax.Array  # int32


class Objective(NamedTuple):
  """What an objective returns besides the loss it is differentiated by."""

  loss: jax.Array  # scalar float32
  stats: types.Params | None = None  # the model's new statistics


class Table(NamedTuple):
  """A data set on the device, from which steps gather their rows."""

  x: types.Array  # [n, *input_shape] float32
  y: Any  # [n] or [n, num_outputs], or a tree of arrays [n, ...]
  id: types.Array  # [n, 2] uint32


ObjectiveFn = Callable[[types.Params, types.Batch, jax.Array], Objective]
StepFn = Callable[..., tuple[TrainState, jax.Array]]


def supervised(
  model: types.Model,
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> ObjectiveFn:
  """The mean of a per-example `loss` of the model in training mode.

  Args:
    model: the model.
    loss: maps (logits, y) to [batch].
    augment: maps (keys [batch], x) to x, an example at a time.
  """

  def objective(params, batch, row_keys):
    x = batch.x
    if augment is not None:
      x = augment(jax.vmap(lambda k: keys.stream(k, 'augment'))(row_keys), x)
    out = model.forward(
      params, x, key=row_keys, train=True, weight=batch.weight
    )
    return Objective(
      losses.masked_mean(loss(out.logits, batch.y), batch.weight), out.stats
    )

  return objective


def init_state(
  params: types.Params,
  optimizer: optax.GradientTransformation,
  trainable: trees.Predicate = types.not_stats,
) -> TrainState:
  """The state before the first step; only what trains has optimizer state."""
  live, _ = trees.partition(params, trainable)
  return TrainState(params, optimizer.init(live), jnp.zeros((), jnp.int32))


def make_step(
  objective: ObjectiveFn,
  optimizer: optax.GradientTransformation,
  *,
  schedule: optimizers_lib.Schedule = optimizers_lib.constant,
  trainable: trees.Predicate = types.not_stats,
) -> StepFn:
  """Loss, gradient, update: `step(state, batch, key, progress)`.

  Only leaves whose path is `trainable` are differentiated and updated; the
  others keep their bits. Returns the new state and the loss.
  """

  def step(state, batch, key, progress=0.0):
    batch = _silence_padding(batch)
    row_keys = keys.rows(keys.stream(key, 'step', state.step), batch.id)
    live, frozen = trees.partition(state.params, trainable)

    def of_live(live):
      result = objective(trees.merge(frozen, live), batch, row_keys)
      return result.loss, result.stats

    (loss, stats), gradient = jax.value_and_grad(of_live, has_aux=True)(live)
    updates, opt_state = optimizer.update(gradient, state.opt_state, live)
    factor = schedule(jnp.asarray(progress, jnp.float32))
    updates = jax.tree.map(lambda u: factor * u, updates)
    params = trees.merge(frozen, optax.apply_updates(live, updates))
    if stats is not None:
      params = {**params, 'stats': stats}
    return TrainState(params, opt_state, state.step + 1), loss

  return step


def make_loop(step: StepFn):
  """Runs rows `begin`..`end` of a plan in one program.

  `loop(state, table, plan, key, begin, end, total)` gathers each batch by
  index from the device-resident `table`; `plan` [rows, batch] int32 holds
  positions, -1 for padding. All three counts are run-time values: a run cut in
  chunks is the same run, bit for bit, and `total` sets the schedule.

  Returns:
    The state and the sum of the losses of these steps, added one by one to
    `loss_sum` where one is given, so that cutting does not move it either.
  """

  def loop(state, table, plan, key, begin, end, total, loss_sum=None):
    def body(row, carry):
      state, loss_sum = carry
      progress = row.astype(jnp.float32) / total.astype(jnp.float32)
      state, loss = step(state, gather(table, plan[row]), key, progress)
      return state, loss_sum + loss

    if loss_sum is None:
      loss_sum = jnp.zeros((), jnp.float32)
    return jax.lax.fori_loop(begin, end, body, (state, loss_sum))

  return loop


def gather(table: Table, positions: jax.Array) -> types.Batch:
  """The rows at `positions` as a batch; -1 gives a padding row."""
  at = jnp.maximum(positions, 0)
  weight = (positions >= 0).astype(jnp.float32)
  y = jax.tree.map(lambda leaf: leaf[at], table.y)
  return types.Batch(table.x[at], y, weight, table.id[at])


def _silence_padding(batch: types.Batch) -> types.Batch:
  """Zeroes rows of weight 0: 0 times NaN is NaN, a weight is not enough."""
  kept = batch.weight > 0

  def zero(rows):
    mask = kept.reshape(kept.shape + (1,) * (rows.ndim - 1))
    return jnp.where(mask, rows, jnp.zeros((), rows.dtype))

  y = jax.tree.map(zero, batch.y)
  return types.Batch(zero(batch.x), y, batch.weight, zero(batch.id))
