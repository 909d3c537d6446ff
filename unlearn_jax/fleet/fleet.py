"""Many independent models, trained in one program on subsets of one data set.

A model is known by its index: its start, its order of the rows and every other
draw come from (seed, index), so which models are trained together, where a run
was cut and how many devices there are make no other model. Who it is trained on
is a mask, never a shape. Inside a program `width` models share each operation;
that moves bits, so it is a part of the fleet, and the exact engine does not use
it.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unlearn_jax import augment as augment_lib
from unlearn_jax import (
  devices,
  errors,
  keys,
  losses,
  optimizers,
  step,
  trees,
  types,
)

_EVAL_BATCH = 256  # rows of a model's forward pass at once
_ROUNDS = 4  # groups of `width` models on each device in one call


class Chunk(NamedTuple):
  """Some trained models, side by side: leaves are [models, ...]."""

  indices: np.ndarray  # [models]
  params: types.Params


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fleet:
  """How each of the models is trained.

  Attributes:
    model: of all of them.
    data: rows that any of them may see.
    optimizer, schedule, augment, label_smoothing: as in a plain fit.
    batch_size: rows of a step; those of the batch that a mask leaves out count
      for nothing.
    epochs: passes over the rows, in an order of its own for each model.
    seed: of everything random.
    width: models that share an operation. Few are best on a CPU (4 was, of 1 to
      32, for a small MLP); an accelerator wants hundreds.
  """

  model: types.Model
  data: types.Dataset
  optimizer: optax.GradientTransformation
  schedule: optimizers.Schedule = optimizers.constant
  augment: augment_lib.Augment | None = None
  label_smoothing: float = 0.0
  batch_size: int
  epochs: int
  seed: int = 0
  width: int = 4

  def __post_init__(self):
    for name in ('batch_size', 'epochs', 'width'):
      if getattr(self, name) < 1:
        raise errors.ConfigError(
          f'{name} of a fleet is at least 1, got {getattr(self, name)}'
        )
    if not len(self.data):
      raise errors.DataError(f'{self.data.name} has no rows to train on')

  def train(
    self,
    masks: np.ndarray,
    indices: Sequence[int] | None = None,
    *,
    start: types.Params | None = None,
    kept: types.Params | None = None,
    begin: int = 0,
    end: int | None = None,
  ) -> Iterator[Chunk]:
    """Trains a model for each mask, and yields them chunk by chunk.

    Args:
      masks: [models, rows] whether a model may see a row.
      indices: of the models, 0, 1, ... by default.
      start: where they begin, leaves [models, ...]; `starts` by default.
      kept: which weights may move, booleans like `start`; the others keep
        their bits.
      begin, end: the epochs that are trained, all by default. Orders and the
        schedule are those of the whole run, the optimizer's state is fresh.
    """
    masks = np.asarray(masks)
    if masks.ndim != 2 or masks.shape[1] != len(self.data):
      raise errors.DataError(
        f'masks are [models, {len(self.data)} rows], got {list(masks.shape)}'
      )
    if indices is None:
      indices = range(len(masks))
    indices = np.asarray(indices, np.int32)
    if len(indices) != len(masks):
      raise errors.DataError(f'{len(indices)} indices of {len(masks)} masks')
    for name, tree in (('start', start), ('kept', kept)):
      counts = {len(leaf) for leaf in jax.tree.leaves(tree)}
      if counts - {len(masks)}:
        raise errors.DataError(
          f'{name} is of {counts} models, for {len(masks)} masks'
        )
    end = self.epochs if end is None else end
    if not 0 <= begin <= end <= self.epochs:
      raise errors.ConfigError(
        f'epochs to train are within 0..{self.epochs}, got {begin}..{end}'
      )
    seen = masks.astype(np.float32)
    span = (np.int32(begin), np.int32(end))
    for some in chunks(len(indices), self.width):
      mine = jax.tree.map(
        lambda leaf, some=some: leaf[some], (indices, seen, start, kept)
      )
      yield Chunk(indices[some], self._fit((self._table, span), mine))

  def starts(self, indices: Sequence[int]) -> types.Params:
    """Where the models of these indices begin, side by side."""
    indices = np.asarray(indices, np.int32)
    return jax.device_get(self._begun(self._table.x[:1], (indices,)))

  def outputs(self, params: types.Params, x: np.ndarray) -> np.ndarray:
    """Logits [models, rows, outputs] of the models side by side in `params`."""
    return outputs(self.model, params, x, width=self.width)

  @functools.cached_property
  def _table(self) -> step.Table:
    x, y, ids, _ = self.data.all()
    return step.Table(x, y, keys.id_words(ids))

  @functools.cached_property
  def _fit(self) -> Callable[..., types.Params]:
    return spread(self._fit_one, self.width)

  @functools.cached_property
  def _begun(self) -> Callable[..., types.Params]:
    return spread(lambda x, index: self._start(index, x), self.width)

  def _fit_one(
    self, shared, index, seen, start=None, kept=None
  ) -> types.Params:
    table, (begin, end) = shared
    loss = losses.of_task(self.data.task)
    if self.label_smoothing:
      loss = functools.partial(loss, label_smoothing=self.label_smoothing)
    trainable, optimizer = self.model.trainable, self.optimizer
    if kept is not None:
      live, _ = trees.partition(kept, trainable)
      optimizer = optimizers.held(optimizer, live)
    one_step = step.make_step(
      step.supervised(self.model, loss, self.augment),
      optimizer,
      schedule=self.schedule,
      trainable=trainable,
    )
    params = self._start(index, table.x[:1]) if start is None else start
    return epochs(
      one_step,
      step.init_state(params, optimizer, trainable),
      table,
      self._key(index),
      begin=begin,
      end=end,
      epochs=self.epochs,
      batch_size=self.batch_size,
      seen=seen,
    ).params

  def _start(self, index, x) -> types.Params:
    return self.model.init(keys.stream(self._key(index), 'init'), x)

  def _key(self, index) -> jax.Array:
    return keys.stream(keys.root(self.seed), 'fleet', index)


def epochs(
  one_step: step.StepFn,
  state: step.TrainState,
  table: step.Table,
  key: jax.Array,
  *,
  epochs: int,
  batch_size: int,
  seen: jax.Array,
  begin: int | jax.Array = 0,
  end: int | jax.Array | None = None,
) -> step.TrainState:
  """Passes over a table in a new order each, all inside a program.

  Rows count by their weight `seen`: 0 leaves a row out and 2 counts it twice.
  Of the `epochs` only those from `begin` to before `end` are run.
  """
  rows = len(table.y)
  steps = math.ceil(rows / batch_size)

  def an_epoch(epoch, state):
    order = keys.shuffle(keys.stream(key, 'order', epoch), rows)
    plan = jnp.full((steps * batch_size,), -1, order.dtype).at[:rows].set(order)
    plan = plan.reshape(steps, batch_size)

    def a_step(i, state):
      batch = step.gather(table, plan[i])
      weight = batch.weight * seen[jnp.maximum(plan[i], 0)]
      progress = (epoch * steps + i) / (epochs * steps)
      batch = batch._replace(weight=weight)
      return one_step(state, batch, key, progress)[0]

    return jax.lax.fori_loop(0, steps, a_step, state)

  # Draws of a step go by its number, wherever the run begins.
  state = state._replace(step=state.step + begin * steps)
  end = epochs if end is None else end
  return jax.lax.fori_loop(begin, end, an_epoch, state)


def outputs(
  model: types.Model,
  params: types.Params,
  x: np.ndarray,
  *,
  width: int = 4,
  of: str = 'logits',
) -> np.ndarray:
  """Logits [models, rows, outputs] of models side by side in `params`.

  Or, with `of='features'`, what their last layer sees.
  """
  count, rows = len(jax.tree.leaves(params)[0]), len(x)
  batch = min(_EVAL_BATCH, rows)
  padded = np.pad(x, [(0, -rows % batch)] + [(0, 0)] * (x.ndim - 1))
  batches = padded.reshape(-1, batch, *x.shape[1:])
  run = _forward(model, width, of)
  found = []
  for some in chunks(count, width):
    part = jax.tree.map(lambda leaf, some=some: leaf[some], params)
    logits = np.asarray(run(batches, (part,)))
    found.append(logits.reshape(len(some), len(padded), -1)[:, :rows])
  return np.concatenate(found)


@functools.lru_cache(maxsize=16)
def _forward(model: types.Model, width: int, of: str):
  function = {'logits': model.apply, 'features': model.features}[of]

  def one(batches, params):
    return jax.lax.map(functools.partial(function, params), batches)

  return spread(one, width)


def together(made: Iterable[Chunk]) -> types.Params:
  """All the models of these chunks side by side, on the host."""
  parts = [jax.device_get(chunk.params) for chunk in made]
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def chunks(count: int, width: int) -> Iterator[np.ndarray]:
  """Positions of the models of each call, for `count` of them."""
  size = width * len(jax.local_devices()) * _ROUNDS
  for begin in range(0, count, size):
    yield np.arange(begin, min(begin + size, count))


def spread(one: Callable[..., Any], width: int) -> Callable[..., Any]:
  """`one(shared, *of_a_model)` as a program over many models.

  The result takes `(shared, of_models)`, whose leaves are [models, ...]; the
  models are shared out over the local devices, `width` at once on each. Their
  number is filled up to a full round, so few sizes are compiled.
  """
  found = jax.local_devices()
  mesh = devices.make_mesh({'fleet': len(found)}, devices=found)

  @jax.jit
  def program(shared, of_models):
    def on_a_device(shared, mine):
      return jax.lax.map(lambda a: one(shared, *a), mine, batch_size=width)

    return jax.shard_map(
      on_a_device,
      mesh=mesh,
      in_specs=(jax.P(), jax.P('fleet')),
      out_specs=jax.P('fleet'),
      check_vma=False,
    )(shared, of_models)

  def run(shared, of_models):
    count = len(jax.tree.leaves(of_models)[0])
    size = width * len(found)
    missing = -count % size
    filled = jax.tree.map(lambda leaf: _filled(leaf, missing), of_models)
    made = program(shared, filled)
    return jax.tree.map(lambda leaf: leaf[:count], made)

  return run


def _filled(leaf, missing: int):
  """The last model again and again: its idle slots disturb nobody."""
  if not missing:
    return leaf
  return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)])
