"""What methods that look at one model are made of: rows, and passes over them.

Everything here runs inside a program, for one model; `_door` puts many models
side by side. Rows are padded, so that forget sets of many sizes share a
program; padding has weight 0 and comes last in every order. What is asked of a
model without training it is in `_looks`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import augment as augment_lib
from unlearn_jax import errors, keys, losses, optimizers, step, trees, types

Loss = Callable[[jax.Array, Any], jax.Array]  # (logits, y) -> [batch]


class Rows(NamedTuple):
  """Some examples; what a method did not ask for is None."""

  x: Any  # [n, *input_shape]
  y: Any  # [n] or [n, num_outputs], or a tree of arrays [n, ...]
  id: Any  # [n, 2]
  weight: Any  # [n] 0 for padding
  count: Any  # int32, of those that are no padding


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
  """What a method is given beside the model.

  Attributes:
    forget, retain: what goes and what stays.
    control: rows that no model was trained on, to choose by.
    task: what the labels mean.
    kept: which weights may move, by path of those that train; None: all.
    augment: as in the training of the models.
    read: gradients and outputs that were asked for, as they are.
  """

  forget: Rows
  retain: Rows
  control: Rows
  task: types.Task
  kept: dict[str, Any] | None = None
  augment: augment_lib.Augment | None = None
  read: list[tuple[str, Any]] = dataclasses.field(default_factory=list)

  @property
  def loss(self) -> Loss:
    """The loss of the task, an example at a time."""
    return losses.of_task(self.task)

  def spend(self, kind: str, rows: Any) -> None:
    """Notes that `rows` gradients or outputs were computed."""
    self.read.append((kind, jnp.asarray(rows, jnp.float32)))


def check_task(data: Data, kind: str) -> None:
  """Refuses a task that a method has no meaning for."""
  if data.task.kind != kind:
    raise errors.ConfigError(
      f'it is for {kind}, got a task of {data.task.kind}'
    )


def still(model: types.Model, loss: Loss) -> step.ObjectiveFn:
  """The mean loss in evaluation mode: statistics of layers do not move."""

  def objective(params, batch, row_keys):
    del row_keys
    logits = model.apply(params, batch.x)
    return step.Objective(
      losses.masked_mean(loss(logits, batch.y), batch.weight)
    )

  return objective


def moving(model: types.Model, loss: Loss, data: Data) -> step.ObjectiveFn:
  """The mean loss as it was trained: with augmentation and statistics."""
  return step.supervised(model, loss, data.augment)


def sgd(learning_rate, momentum=0.9, weight_decay=0.0):
  """SGD whose numbers may be run-time values."""
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.sgd(learning_rate, momentum),
  )


def adam(learning_rate):
  """Adam whose rate may be a run-time value."""
  return optax.adam(learning_rate)


def fresh(
  model: types.Model, params: types.Params, key: jax.Array, x: jax.Array
) -> types.Params:
  """A new start: what trains, and statistics; the rest is as in `params`."""
  new = trees.flatten(model.init(key, x[:1]))
  old = trees.flatten(params)

  def is_new(path):
    return model.trainable(path) or not types.not_stats(path)

  return trees.unflatten(
    {path: (new if is_new(path) else old)[path] for path in old}
  )


def renewed(
  model: types.Model,
  params: types.Params,
  data: Data,
  key: jax.Array,
  x: jax.Array,
  chosen: trees.Predicate | None = None,
) -> types.Params:
  """`params` begun again, where `chosen` by path; what is held stays."""
  new, old = trees.flatten(fresh(model, params, key, x)), trees.flatten(params)
  if chosen is not None:
    new = {
      path: (new if chosen(path.removeprefix('stats/')) else old)[path]
      for path in old
    }
  return hold(model, data, params, trees.unflatten(new))


def hold(
  model: types.Model, data: Data, before: types.Params, after: types.Params
) -> types.Params:
  """`after`, but what `data.kept` holds is as it was."""
  if data.kept is None:
    return after
  live, frozen = trees.partition(after, model.trainable)
  old, _ = trees.partition(before, model.trainable)
  return trees.merge(frozen, jax.tree.map(jnp.where, data.kept, live, old))


class Trainer(NamedTuple):
  """What all passes of one run share: an optimizer and what may move."""

  model: types.Model
  data: Data
  optimizer: optax.GradientTransformation
  trainable: trees.Predicate

  def begin(self, params: types.Params) -> step.TrainState:
    """`params` with fresh optimizer state."""
    return step.init_state(params, self.optimizer, self.trainable)

  def step(self, objective, schedule=optimizers.constant) -> step.StepFn:
    """One step down `objective`."""
    return step.make_step(
      objective, self.optimizer, schedule=schedule, trainable=self.trainable
    )


def trainer(
  model: types.Model,
  data: Data,
  optimizer: optax.GradientTransformation,
  *,
  trainable: trees.Predicate | None = None,
  kept: dict[str, Any] | None = None,
) -> Trainer:
  """A trainer that holds the weights that `data.kept` and `kept` hold.

  Args:
    model: what is trained.
    data: the request.
    optimizer: its state is of the trained leaves alone.
    trainable: paths that move, where not all that train do.
    kept: weights that may move, by path of those that train.
  """
  for one in (data.kept, kept):
    if one is not None:
      if trainable:
        one = {path: leaf for path, leaf in one.items() if trainable(path)}
      optimizer = optimizers.held(optimizer, one)
  return Trainer(model, data, optimizer, trainable or model.trainable)


def descend(
  train: Trainer,
  params: types.Params,
  rows: Rows,
  objective: step.ObjectiveFn,
  key: jax.Array,
  *,
  epochs: int,
  batch_size: int,
  schedule: optimizers.Schedule = optimizers.constant,
  beside: Rows | None = None,
) -> types.Params:
  """`epochs` passes over `rows`, from fresh optimizer state to parameters."""
  one_step = train.step(objective, schedule)

  def an_epoch(epoch, state):
    return a_pass(
      one_step,
      state,
      rows,
      keys.stream(key, 'pass', epoch),
      batch_size=batch_size,
      part=(epoch, epochs),
      beside=beside,
    )

  spend_passes(train.data, rows, epochs, batch_size, beside)
  state = train.begin(params)
  return jax.lax.fori_loop(0, epochs, an_epoch, state).params


def a_pass(
  one_step: step.StepFn,
  state: step.TrainState,
  rows: Rows,
  key: jax.Array,
  *,
  batch_size: int,
  part: tuple[Any, Any] = (0, 1),
  beside: Rows | None = None,
) -> step.TrainState:
  """One pass in a new order; `part` = (epoch, of how many) sets the schedule.

  With `beside` each batch holds, after its rows, as many of those, in an order
  of their own that begins again when it ends.
  """
  table = step.Table(rows.x, rows.y, rows.id)
  order = _order(keys.stream(key, 'order'), rows)
  steps = _steps(rows, batch_size)
  if beside is not None:
    also = step.Table(beside.x, beside.y, beside.id)
    beside_order = _order(keys.stream(key, 'beside'), beside)

  def a_step(i, state):
    at = i * batch_size + jnp.arange(batch_size)
    batch = step.gather(table, _positions(order, rows, at))
    if beside is not None:
      at = at % jnp.maximum(beside.count, 1)
      batch = join(
        batch, step.gather(also, _positions(beside_order, beside, at))
      )
    progress = (part[0] + i / steps) / part[1]
    return one_step(state, batch, key, progress)[0]

  return jax.lax.fori_loop(0, steps, a_step, state)


def spend_passes(data, rows, epochs, batch_size, beside=None) -> None:
  """Notes the gradients of `epochs` passes."""
  data.spend('gradients', epochs * rows.count)
  if beside is not None:
    data.spend('gradients', epochs * _steps(rows, batch_size) * batch_size)


def join(first, second):
  """Two sets of rows, or two batches, as one; padding stays padding."""
  joined = jax.tree.map(
    lambda *pair: jnp.concatenate(pair),
    *(
      part._replace(count=None) if isinstance(part, Rows) else part
      for part in (first, second)
    ),
  )
  if isinstance(first, Rows):
    return joined._replace(count=first.count + second.count)
  return joined


def split(batch: Any, size: int) -> tuple[Any, Any]:
  """The first `size` rows of what `beside` has joined, and the others."""
  return (
    jax.tree.map(lambda leaf: leaf[:size], batch),
    jax.tree.map(lambda leaf: leaf[size:], batch),
  )


def some(rows: Rows, part: Any, key: jax.Array) -> Rows:
  """A random part of `rows`: the others become padding."""
  count = jnp.ceil(part * rows.count).astype(jnp.int32)
  rank = jnp.argsort(_order(key, rows))
  weight = jnp.where(rank < count, rows.weight, 0.0)
  return rows._replace(weight=weight, count=jnp.minimum(count, rows.count))


def _order(key, rows: Rows) -> jax.Array:
  """Positions in a random order, padding last."""
  n = len(rows.id)
  mixed = keys.shuffle(key, n)
  return mixed[jnp.argsort(rows.weight[mixed] == 0, stable=True)]


def _positions(order, rows: Rows, at) -> jax.Array:
  """Of the `at`-th rows of an order; -1 beyond the end."""
  chosen = order[jnp.minimum(at, len(order) - 1)]
  return jnp.where(at < rows.count, chosen, -1)


def _steps(rows: Rows, batch_size: int):
  return (rows.count + batch_size - 1) // batch_size
