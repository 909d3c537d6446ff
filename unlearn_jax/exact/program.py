"""The one program that runs every stage: train, repair and audit alike.

It fits a single model on the rows of a prefix, in one compiled loop whose
shapes depend on a capacity and not on how many rows there are; the number of
steps is a run-time value. Under `s3t` there is one program a block, so that
only the block in training is differentiated. Never batched over models: that
would change bits.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, keys, losses, step, trees, types
from unlearn_jax.exact import places, stages
from unlearn_jax.exact import recipe as recipe_lib

_SMALLEST = 64  # rows; nobody waits for less


class State(NamedTuple):
  """What a stage leaves: its model, and what the next one may carry on."""

  params: types.Params
  opt_state: Any = None
  step: Any = None


class Rows(NamedTuple):
  """The surviving rows of a shard, padded to a capacity.

  On the device, or on the host when they are streamed to it.
  """

  table: step.Table
  ids: np.ndarray  # [n], on the host
  slice: np.ndarray  # [n]


class Engine:
  """The compiled programs of one way to train, whoever uses it.

  Systems and audits of one process that train in the same way share it, so it
  is compiled once.
  """

  def __init__(self, recipe: recipe_lib.Recipe, task: types.Task):
    self.model = recipe.make_model(task)
    self.apply = jax.jit(self.model.apply)
    self.optimizer = recipe.make_optimizer()
    self.traces = 0  # of loops; tests count them
    self._s3t = recipe.strategy == 's3t'
    self._schedule = recipe.make_schedule()
    self._mesh = recipe.mesh
    loss = losses.of_task(task)
    if recipe.label_smoothing:
      loss = functools.partial(loss, label_smoothing=recipe.label_smoothing)
    self._objective = step.supervised(self.model, loss, recipe.make_augment())
    self._starts, self._loops = {}, {}

  def trains(self, depth: int) -> trees.Predicate:
    """The paths that a stage of this depth moves by gradient."""
    return (
      self.model.blocks.trainable(depth) if self._s3t else self.model.trainable
    )

  def begin(self, params: types.Params, depth: int) -> types.Params:
    """Parameters of a parent, ready for training at this depth."""
    return self.model.blocks.begin(params, depth) if self._s3t else params

  def start(self, depth: int):
    """The compiled way from a parent's state to what the loop may overwrite.

    Siblings share the parent, so all of it is copied, in one call.
    """
    block = depth if self._s3t else 0
    if block not in self._starts:

      def begun(parent):
        if parent.opt_state is None:
          params = self.begin(parent.params, depth)
          state = step.init_state(params, self.optimizer, self.trains(depth))
        else:
          state = step.TrainState(*parent)
        return jax.tree.map(jnp.copy, state)

      self._starts[block] = jax.jit(begun)
    return self._starts[block]

  def loop(self, depth: int):
    """The compiled loop that trains a stage of this depth."""
    block = depth if self._s3t else 0
    if block not in self._loops:
      one_step = step.make_step(
        self._objective,
        self.optimizer,
        schedule=self._schedule,
        trainable=self.trains(depth),
      )
      loop = step.make_loop(places.split(one_step, self._mesh))

      def counted(*args):
        self.traces += 1  # runs when traced, not when called
        return loop(*args)

      self._loops[block] = jax.jit(counted, donate_argnums=0)
    return self._loops[block]


_ENGINES: dict[tuple, Engine] = {}


def engine(recipe: recipe_lib.Recipe, task: types.Task) -> Engine:
  """The engine of a recipe, shared by all that train alike."""
  key = (recipe.training(), task)
  if key not in _ENGINES:
    _ENGINES[key] = Engine(recipe, task)
  return _ENGINES[key]


class Program:
  """Fits stages of one recipe."""

  def __init__(
    self,
    recipe: recipe_lib.Recipe,
    data: types.Dataset,
    *,
    resident_rows: int | None = None,
  ):
    """A program.

    Args:
      recipe: what to train.
      data: only its public facts are looked at.
      resident_rows: when a shard holds more, its batches are gathered on the
        host and streamed, this many rows at a time: slower, the same bits.
    """
    self.recipe = recipe
    self._resident = resident_rows
    self.engine = engine(recipe, data.task)
    self.task, self.input_shape = data.task, data.input_shape
    self._starts: dict[int, State] = {}

  def start(self, shard: int) -> State:
    """What the first stages of a shard go on from: no data in it."""
    if shard not in self._starts:
      key = keys.stream(keys.root(self.recipe.seed), 'init', shard)
      x = np.zeros((1, *self.input_shape), np.float32)
      self._starts[shard] = State(self.engine.model.init(key, x))
    return self._starts[shard]

  def keeps(self, depth: int) -> trees.Predicate:
    """The paths that are a stage's own: what it trains, and statistics."""
    trains = self.engine.trains(depth)
    return lambda path: trains(path) or path.startswith('stats/')

  def rows(
    self,
    examples: types.Examples,
    slices: np.ndarray,
    capacity: int,
    place: places.Place = None,
  ) -> Rows:
    """A shard's survivors, sent to a place once for all its stages."""
    padding = capacity - len(examples.id)
    if padding < 0:
      raise errors.ConfigError(
        f'{len(examples.id)} rows do not fit a capacity of {capacity}'
      )

    def pad(values):
      return np.pad(values, [(0, padding)] + [(0, 0)] * (values.ndim - 1))

    words = keys.id_words(examples.id)
    table = step.Table(*map(pad, (examples.x, examples.y, words)))
    if not self._streams(capacity):
      table = places.copy(table, place)
    return Rows(table, examples.id, slices)

  def fit(
    self,
    stage: stages.Stage,
    parent: State,
    rows: Rows,
    place: places.Place = None,
  ) -> State:
    """Trains a stage from its parent's state; returns before it is done."""
    recipe = self.recipe
    plan, steps = self._plan(stage, rows)
    # To its place first: where the parent is, another stage may be running.
    state = self.engine.start(stage.depth)(places.spread(parent, place))
    state = places.spread(state, place)
    key = _stage_key(keys.root(recipe.seed), stage.shard, stage.prefix)
    loop = self.engine.loop(stage.depth)
    for begin, end, table, part in self._windows(rows, plan, steps):
      table, part = places.copy((table, part), place)
      with places.at(place):
        state, _ = loop(state, table, part, key, begin, end, steps)
    if recipe.carry:
      return State(*state)
    return State(state.params)

  def own(self, stage: stages.Stage, state: State) -> dict[str, Any]:
    """What belongs to a stage and is stored of it, on the host."""
    own, _ = trees.partition(state.params, self.keeps(stage.depth))
    tree = {'params': trees.unflatten(own)}
    if state.opt_state is not None:
      leaves = jax.tree.leaves(state.opt_state)
      tree['opt_state'] = {str(i): leaf for i, leaf in enumerate(leaves)}
      tree['step'] = state.step
    return jax.device_get(tree)

  def restore(
    self, stage: stages.Stage, parent: types.Params, own: dict[str, Any]
  ) -> State:
    """The state of a stage from its parent's parameters and what is its own.

    What no training can have left is refused.
    """
    parent = self.engine.begin(parent, stage.depth)
    mine, others = trees.partition(parent, self.keeps(stage.depth))
    like = {'params': trees.unflatten(mine)}
    if self.recipe.carry:
      state = jax.eval_shape(self.engine.start(stage.depth), State(parent))
      leaves, structure = jax.tree.flatten(state.opt_state)
      like['opt_state'] = {str(i): leaf for i, leaf in enumerate(leaves)}
      like['step'] = state.step
    _check_fit(stage, like, own)
    params = trees.merge(others, trees.flatten(own['params']))
    if not self.recipe.carry:
      return State(params)
    # One without leaves (plain SGD) is not there when it was stored.
    stored = own.get('opt_state', {})
    leaves = [stored[name] for name in like['opt_state']]
    return State(params, jax.tree.unflatten(structure, leaves), own['step'])

  def _streams(self, capacity: int) -> bool:
    return self._resident is not None and capacity > self._resident

  def _windows(self, rows: Rows, plan: np.ndarray, steps: int):
    """(begin, end, table, plan) of each call of the loop; one if resident."""
    if not self._streams(len(rows.table.y)):
      yield 0, steps, rows.table, plan
      return
    batch = self.recipe.batch_size
    length = max(1, self._resident // batch)  # steps of a window
    for begin in range(0, steps, length):
      end = min(begin + length, steps)
      chosen = np.full(length * batch, -1, np.int32)
      chosen[: (end - begin) * batch] = plan[begin:end].ravel()
      table = step.Table(*(a[np.maximum(chosen, 0)] for a in rows.table))
      # The plan keeps its shape and its rows their number: the schedule and
      # the random streams count steps of the whole fit.
      part = np.full_like(plan, -1)
      places_of = np.where(chosen >= 0, np.arange(len(chosen)), -1)
      part[begin:end] = places_of.reshape(length, batch)[: end - begin]
      yield begin, end, table, part

  def _plan(self, stage: stages.Stage, rows: Rows):
    """([capacity, batch] positions in the table, number of steps).

    Each epoch is in keyed-hash order of the ids: survivors keep theirs.
    """
    recipe = self.recipe
    chosen = np.flatnonzero(np.isin(rows.slice, stage.prefix)).astype(np.int32)
    steps_an_epoch = -(-len(chosen) // recipe.batch_size)
    longest = -(-len(rows.table.y) // recipe.batch_size)  # of any prefix
    plan = np.full(
      (power_of_two(recipe.epochs * longest), recipe.batch_size), -1, np.int32
    )
    flat = plan[: recipe.epochs * steps_an_epoch].reshape(recipe.epochs, -1)
    salts = [
      f'{recipe.seed}/{stage}/epoch {epoch}' for epoch in range(recipe.epochs)
    ]
    flat[:, : len(chosen)] = chosen[keys.orders(rows.ids[chosen], salts)]
    return plan, recipe.epochs * steps_an_epoch


@jax.jit  # one call, and not several for each slice of the prefix
def _stage_key(root: jax.Array, shard: int, prefix: tuple) -> jax.Array:
  return keys.stream(root, 'stage', shard, *prefix)


def _check_fit(stage: stages.Stage, like: Any, own: Any) -> None:
  """Refuses what no training of a model can have left."""
  wanted, have = _described(like), _described(own)
  wrong = sorted(p for p in wanted | have if wanted.get(p) != have.get(p))
  if wrong:
    pairs = [f'{p} is {have.get(p)}, not {wanted.get(p)}' for p in wrong[:5]]
    raise errors.CheckpointError(
      f'what is stored as stage {stage} is not of this model: '
      + '; '.join(pairs)
    )
  if not trees.all_finite(own['params']):
    raise errors.CheckpointError(
      f'what is stored as stage {stage} has parameters that are not finite'
    )


def _described(tree: Any) -> dict[str, tuple]:
  return {
    path: (leaf.dtype.name, tuple(leaf.shape))
    for path, leaf in trees.flatten(tree).items()
  }


def capacity_for(rows: int) -> int:
  """Rows a program is compiled for: a power of two, so that few are needed."""
  return max(_SMALLEST, power_of_two(rows))


def power_of_two(n: int) -> int:
  """The smallest power of two that is at least `n` and 1."""
  return 1 << max(n - 1, 0).bit_length()
