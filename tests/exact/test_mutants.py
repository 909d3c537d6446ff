"""Known defects, planted one at a time: the checks of E1 and E2 must see them.

Most were found in published unlearning code. A check that stays green with its
defect in place proves nothing.

Some known defects have no place here to be planted in:

- an epoch that is repeated after a crash: a stage is saved whole or not at all;
- models that are trained together, whose bits depend on who else is there: one
  program fits one model;
- class weights, or data in a program as constants: systems that train alike
  share their programs, and rows reach these as arguments;
- a choice made on the test split: the engine never opens it;
- rows that no slice gets because sizes do not divide: places are hashes. What
  is left over in a batch, or in a tree of hashes, is planted;
- what crashes, damaged files, receipts and erasure do: the models are the same.
"""

import dataclasses
import functools
import hashlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import test_step
from tests.exact import (
  test_e2,
  test_ids,
  test_locality,
  test_partition,
  test_system,
  test_taint,
)
from tests.models import test_lora
from unlearn_jax import devices, errors, keys, losses, trees, types
from unlearn_jax.exact import (
  books,
  builder,
  canary,
  erasure,
  ledger,
  merkle,
  partition,
  program,
  recipe,
  records,
  serving,
  shelf,
  stages,
  store,
)
from unlearn_jax.exact import system as system_lib
from unlearn_jax.models import lora

KINDS = ('per_stage', 'mlp')
make = test_system.make


def scenario(kind, folder):
  """Train, delete, look (E1), repair, look (E2): first, middle, last slice."""
  rng = np.random.default_rng(5)
  world = test_e2.make_world(rng, folder / 'data.npz', strings=False)
  twins = len(world.ids) // 2 * 2  # one content under two ids
  world.x[1:twins:2], world.y[1:twins:2] = world.x[:twins:2], world.y[:twins:2]
  world.write()
  config = test_e2.make_config(rng, kind, world.path)
  config |= {'shards': 2, 'epochs': 2}
  config['sequences'] = {'kind': 'cyclic', 'budget': 2}
  system = system_lib.System.create(str(folder / 'system'), config)
  try:
    system.train()
    place = system._records
    where = {i: p for p, i in enumerate(place.ids.tolist())}
    at = np.array([where.get(i, -1) for i in world.ids.tolist()])
    for part in range(system.recipe.slices):
      here = world.used & (place.shard[at] == 0) & (place.slice[at] == part)
      chosen = np.flatnonzero(here)[:1]
      system.delete(ids=world.ids[chosen].tolist())
      world.used[chosen] = False
      test_e2.check_e1(world, system)
      if part != 1:
        system.repair()
    system.close()  # what is not on disk is not there
    system = system_lib.System.open(str(folder / 'system'))
    some = np.flatnonzero(world.used & (place.shard[at] == 1))[:2]
    system.delete(owners=np.unique(world.owners[some]).tolist())
    world.used &= ~np.isin(world.owners, world.owners[some])
    system.repair()
    test_e2.check_e2(world, system)
    test_e2.check_e1(world, system)
    check_answers(world, system)
  finally:
    system.close()


def check_answers(world, system):
  """The mean of the shards' models, none of which is in training any more."""
  model = system.recipe.make_model(types.Task('classification', 3))
  x = world.x[:4].astype(np.float32)
  logits = [model.forward(p, x).logits for p in system._view.params]
  np.testing.assert_allclose(system.predict(x), np.mean(logits, 0), atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_without_a_defect_the_scenario_is_green(kind, tmp_path):
  scenario(kind, tmp_path)


def _earlier_blocks_are_reset(patch):
  original = program.Engine.begin

  def begin(self, params, depth):
    fresh = trees.flatten(self.fresh)
    params = {
      path: fresh[path] if path.startswith('adapters/') else leaf
      for path, leaf in trees.flatten(params).items()
    }
    return original(self, trees.unflatten(params), depth)

  start = program.Program.start

  def remembered(self, shard):
    state = start(self, shard)
    self.engine.fresh = state.params
    return state

  patch.setattr(program.Engine, 'begin', begin)
  patch.setattr(program.Program, 'start', remembered)


def _a_stage_trains_the_next_block_too(patch):
  def trains(self, depth):
    mine = (f'adapters/block_{depth}/', f'adapters/block_{depth + 1}/')
    return lambda path: path.startswith((*mine, f'heads/stage_{depth}/'))

  patch.setattr(program.Engine, 'trains', trains)


def _all_stages_train_one_head(patch):
  def trains(self, depth):
    mine = (f'adapters/block_{depth}/', 'heads/')
    return lambda path: path.startswith(mine)

  patch.setattr(program.Engine, 'trains', trains)


def _blocks_are_not_switched(patch):
  patch.setattr(program.Engine, 'begin', lambda self, params, depth: params)


def _stages_go_on_from_the_start(patch):
  def before(self, parent, shard, find):
    return self._program.start(shard)

  patch.setattr(builder.Builder, '_before', before)


def _placement_is_by_position(patch):
  original = partition.place

  def place(owners, **kwargs):
    return original(np.arange(len(owners)), **kwargs)

  patch.setattr(partition, 'place', place)


def _order_is_that_of_the_file(patch):
  def orders(ids, salts):
    return np.tile(np.arange(len(ids)), (len(salts), 1))

  patch.setattr(keys, 'orders', orders)


def _order_is_the_same_in_every_epoch(patch):
  original = keys.orders

  def orders(ids, salts):
    return original(ids, [salt.split('/epoch')[0] for salt in salts])

  patch.setattr(keys, 'orders', orders)


def _the_last_slice_is_not_in_the_name(patch):
  original = stages.name

  def name(digest, stage, roots):
    return original(digest, stage._replace(prefix=stage.prefix[:-1]), roots) + (
      str(stage)
    )

  patch.setattr(stages, 'name', name)


def _names_ignore_the_examples(patch):
  patch.setattr(merkle, 'root', lambda leaves: b'constant' * 4)


def _optimizer_state_is_lost(patch):
  original = program.Program.own

  def own(self, stage, state):
    return original(self, stage, state._replace(opt_state=None))

  patch.setattr(program.Program, 'own', own)


def _the_schedule_remembers_the_capacity(patch):
  original = program.Engine.loop

  def loop(self, depth):
    compiled = original(self, depth)
    return lambda s, t, plan, key, begin, end, total: compiled(
      s, t, plan, key, begin, end, 1000
    )

  patch.setattr(program.Engine, 'loop', loop)


def _shards_start_alike(patch):
  original = program.Program.start
  patch.setattr(program.Program, 'start', lambda self, _: original(self, 0))


def _normalization_comes_from_the_data(patch):
  original = types.Dataset.take

  def take(self, positions):
    examples = original(self, positions)
    if not len(examples.x):
      return examples
    return examples._replace(x=examples.x - examples.x.mean(axis=0))

  patch.setattr(types.Dataset, 'take', take)


def _deleted_rows_are_still_trained_on(patch):
  original = records.Records.survivors

  def survivors(self, shard):
    alive, self.alive = self.alive, np.ones(len(self), bool)
    try:
      return original(self, shard)
    finally:
      self.alive = alive

  patch.setattr(records.Records, 'survivors', survivors)
  patch.setattr(
    records.Records, 'check', lambda self, data: data.positions_of(self.ids)
  )


def _a_repair_trains_nothing(patch):
  original = system_lib.System._plan

  def plan(self):
    found = original(self)
    # After the first training, whose plan is whole.
    whole = len(found.missing) == len(self.wanted)
    return found._replace(missing=found.missing if whole else [])

  patch.setattr(system_lib.System, '_plan', plan)


def _the_old_model_is_served_after_a_deletion(patch):
  original = shelf.Shelf.switch

  def switch(self, names=None):
    if not self.server.view.stages or not self._books.changes:
      original(self, names)

  patch.setattr(shelf.Shelf, 'switch', switch)


def _a_request_replaces_the_one_before(patch):
  original = records.Records.set_alive

  def set_alive(self, positions, alive):
    if not alive:
      self.alive[:] = True
    return original(self, positions, alive)

  patch.setattr(records.Records, 'set_alive', set_alive)


def _the_ledger_forgets_a_request(patch):
  original = ledger.Ledger.delete
  count = []

  def delete(self, deletions, facts):
    count.append(facts)
    if len(count) == 2:
      deletions = [d._replace(ids=[], places=[]) for d in deletions]
    return original(self, deletions, facts)

  patch.setattr(ledger.Ledger, 'delete', delete)


def _one_row_of_an_owner_stays(patch):
  original = records.Records.of_owners
  patch.setattr(
    records.Records, 'of_owners', lambda self, o: original(self, o)[:-1]
  )


def _the_longest_prefix_is_served_dead_or_alive(patch):
  def choose(shards, sequences, exists):
    return tuple(stages.Stage(s, tuple(sequences[0])) for s in range(shards))

  patch.setattr(serving, 'choose', choose)


def _later_blocks_stay_active(patch):
  original = program.Program.restore

  def restore(self, stage, parent, own):
    state = original(self, stage, parent, own)
    on = np.ones(self.recipe.slices, bool)
    return state._replace(params={**state.params, 'switch': on})

  patch.setattr(program.Program, 'restore', restore)


def _the_head_is_not_handed_on(patch):
  def begin(self, params, depth):
    return self.model.blocks.at_depth(params, depth)

  patch.setattr(program.Engine, 'begin', begin)


def _nothing_trains(patch):
  patch.setattr(
    program.Engine, 'trains', lambda self, depth: lambda path: False
  )


def _plan_of(patch, change):
  """Plants `change(program, stage, rows, plan, steps)` in the plans of fits."""
  original = program.Program._plan

  def plan(self, stage, rows):
    return change(self, stage, rows, *original(self, stage, rows))

  patch.setattr(program.Program, '_plan', plan)


def _the_last_batch_is_dropped(patch):
  def change(self, stage, rows, plan, steps):
    whole = plan[(plan >= 0).all(axis=1)]
    padding = [(0, len(plan) - len(whole)), (0, 0)]
    return np.pad(whole, padding, constant_values=-1), len(whole)

  _plan_of(patch, change)


def _steps_are_those_of_the_capacity(patch):
  def change(self, stage, rows, plan, steps):
    capacity = len(rows.table.y)
    return plan, self.recipe.epochs * -(-capacity // self.recipe.batch_size)

  _plan_of(patch, change)


def _a_stage_sees_its_last_slice_only(patch):
  original = program.Program._plan

  def plan(self, stage, rows):
    new = np.where(rows.slice == stage.prefix[-1], rows.slice, -1)
    return original(self, stage, rows._replace(slice=new))

  patch.setattr(program.Program, '_plan', plan)


def _randomness_is_by_position(patch):
  original = keys.id_words
  patch.setattr(keys, 'id_words', lambda ids: original(np.arange(len(ids))))


def _the_step_counter_is_lost(patch):
  original = program.Program.own

  def own(self, stage, state):
    return original(self, stage, state._replace(step=jnp.zeros((), jnp.int32)))

  patch.setattr(program.Program, 'own', own)


def _fits(patch, change):
  """Plants `change(program, run, stage, parent, rows)` in the fits of stages.

  The canary, which fits too, is switched off: it has nothing to remember.
  """
  original = program.Program.fit

  def fit(self, stage, parent, rows, place=None):
    def run(parent=parent):
      return original(self, stage, parent, rows, place)

    return change(self, run, stage, parent, rows)

  patch.setattr(program.Program, 'fit', fit)
  patch.setattr(canary, 'check', lambda *unused: None)


def _first(holder, what, value):
  """What `holder` saw first: kept from before the deletion."""
  return holder.__dict__.setdefault('first', {}).setdefault(what, value)


def _training_goes_on_from_the_old_model(patch):
  def change(self, run, stage, parent, rows):
    old = self.__dict__.setdefault('old', {})
    state = run(parent._replace(params=old.get(stage, parent.params)))
    old[stage] = state.params
    return state

  _fits(patch, change)


def _only_the_slice_that_was_hit_is_trained_again(patch):
  def change(self, run, stage, parent, rows):
    here = tuple(rows.ids[rows.slice == stage.prefix[-1]].tolist())
    fitted = self.__dict__.setdefault('fitted', {})
    if (stage, here) not in fitted:
      fitted[stage, here] = run()
    return fitted[stage, here]

  _fits(patch, change)


def _the_horizon_is_that_of_the_beginning(patch):
  loop, steps_of_stage = program.Engine.loop, []

  def change(self, run, stage, parent, rows):
    steps = self._plan(stage, rows)[1]
    steps_of_stage[:] = [_first(self, stage, steps)]
    return run()

  def horizon(self, depth):
    compiled = loop(self, depth)
    return lambda s, t, plan, key, begin, end, total: compiled(
      s, t, plan, key, begin, end, *steps_of_stage
    )

  patch.setattr(program.Engine, 'loop', horizon)
  _fits(patch, change)


def _the_first_file_of_a_stage_is_used(patch):
  original = store.Store.load

  def load(self, name, like=None):
    stage = self.facts(name)['stage']
    alike = [n for n in self.names() if self.facts(n)['stage'] == stage]
    files = {n: (self._folder / n).stat().st_mtime_ns for n in alike}
    return original(self, min(files, key=files.get), like)

  patch.setattr(store.Store, 'load', load)
  # Nor is the older one removed: else there would be only one.
  patch.setattr(erasure, 'erase', lambda *args, **kwargs: [])


def _memory_is_by_stage_and_not_by_name(patch):
  original = shelf.Shelf._tree

  def tree(self, stage, name):
    return _first(self, stage, original(self, stage, name))

  patch.setattr(shelf.Shelf, '_tree', tree)


def _positions_are_those_after_the_removal(patch):
  original = records.Records.find

  def find(self, ids):
    found = original(self, ids)
    return found - np.cumsum(~self.alive)[found]

  patch.setattr(records.Records, 'find', find)


def _twins_leave_together(patch):
  original = books.Books.resolve

  def resolve(self, asked):
    contents, alive = self.records.contents, self.records.alive

    def twins(at):
      alike = (contents[:, None] == contents[at]).all(axis=2).any(axis=1)
      return np.flatnonzero(alike & alive)

    found = original(self, asked)
    return [each._replace(positions=twins(each.positions)) for each in found]

  patch.setattr(books.Books, 'resolve', resolve)


def _answers_come_from_training_mode(patch):
  def apply(self, params, x):
    return self.forward(params, x, key=keys.root(0), train=True).logits

  patch.setattr(types.Model, 'apply', apply)


S3T, SISA = 'per_stage', 'mlp'
DEFECTS = {
  _earlier_blocks_are_reset: S3T,
  _a_stage_trains_the_next_block_too: S3T,
  _all_stages_train_one_head: S3T,
  _blocks_are_not_switched: S3T,
  _later_blocks_stay_active: S3T,
  _stages_go_on_from_the_start: S3T,
  _placement_is_by_position: SISA,
  _order_is_that_of_the_file: SISA,
  _order_is_the_same_in_every_epoch: SISA,
  _the_last_slice_is_not_in_the_name: SISA,
  _names_ignore_the_examples: SISA,
  _optimizer_state_is_lost: SISA,
  _the_schedule_remembers_the_capacity: S3T,
  _shards_start_alike: SISA,
  _normalization_comes_from_the_data: SISA,
  _deleted_rows_are_still_trained_on: SISA,
  _a_repair_trains_nothing: SISA,
  _the_old_model_is_served_after_a_deletion: S3T,
  _a_request_replaces_the_one_before: SISA,
  _the_ledger_forgets_a_request: SISA,
  _one_row_of_an_owner_stays: SISA,
  _the_longest_prefix_is_served_dead_or_alive: SISA,
  _the_head_is_not_handed_on: S3T,
  _nothing_trains: SISA,
  _the_last_batch_is_dropped: SISA,
  _steps_are_those_of_the_capacity: SISA,
  _a_stage_sees_its_last_slice_only: SISA,
  _randomness_is_by_position: SISA,
  _the_step_counter_is_lost: SISA,
  _training_goes_on_from_the_old_model: SISA,
  _only_the_slice_that_was_hit_is_trained_again: SISA,
  _the_horizon_is_that_of_the_beginning: SISA,
  _the_first_file_of_a_stage_is_used: SISA,
  _memory_is_by_stage_and_not_by_name: SISA,
  _positions_are_those_after_the_removal: SISA,
  _twins_leave_together: SISA,
  _answers_come_from_training_mode: SISA,
}


@pytest.mark.parametrize('defect', DEFECTS, ids=lambda d: d.__name__.strip('_'))
def test_the_defect_is_seen(defect, tmp_path, monkeypatch):
  if defect in COMPILED:  # what is planted must not stay in later tests
    monkeypatch.setattr(program, '_ENGINES', {})
  defect(monkeypatch)
  seen = AssertionError, KeyError, errors.CheckpointError, errors.LedgerError
  with pytest.raises(seen):
    scenario(DEFECTS[defect], tmp_path)


# Defects that get into the compiled programs.
COMPILED = {
  _answers_come_from_training_mode,
  _blocks_are_not_switched,
  _nothing_trains,
  _the_head_is_not_handed_on,
  _a_stage_trains_the_next_block_too,
  _all_stages_train_one_head,
  _earlier_blocks_are_reset,
}


def _normalization_is_kept(patch):
  original = types.Dataset.take

  def take(self, positions):
    everything = self.read(np.arange(len(self)))
    mean = _first(self, 'mean', everything.mean(axis=0))
    examples = original(self, positions)
    return examples._replace(x=(examples.x - mean).astype(np.float32))

  patch.setattr(types.Dataset, 'take', take)


def _classes_are_those_that_were_there(patch):
  original = types.Dataset.take

  def take(self, positions):
    examples = original(self, positions)
    classes = _first(self, 'classes', np.unique(self.labels))
    return examples._replace(y=np.int32(np.searchsorted(classes, examples.y)))

  patch.setattr(types.Dataset, 'take', take)


def _statistics_are_kept(patch):
  def change(self, run, stage, parent, rows):
    state = run()
    stats = _first(self, stage, state.params['stats'])
    return state._replace(params={**state.params, 'stats': stats})

  _fits(patch, change)


def _moments_are_kept(patch):
  def change(self, run, stage, parent, rows):
    return run(parent._replace(opt_state=_first(self, stage, parent.opt_state)))

  _fits(patch, change)


def _averages_are_kept(patch):
  def change(self, run, stage, parent, rows):
    state = run()
    before = _first(self, stage, state.params)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, before, state.params)
    return state._replace(params=mean)

  _fits(patch, change)


def _training_stops_early_by_rows_that_left(patch):
  def change(self, run, stage, parent, rows):
    n = len(rows.ids)
    x, y, n = _first(self, stage.shard, (rows.table.x, rows.table.y, n))

    def loss(state):
      logits = self.engine.apply(state.params, x)
      return losses.cross_entropy(logits, y)[:n].mean()

    found = []
    for epochs in (1, 2):
      self.recipe = dataclasses.replace(self.recipe, epochs=epochs)
      found.append(run())
    short, long = found
    return long if loss(long) < 0.9 * loss(short) else short

  _fits(patch, change)


def _the_shuffle_counts_the_examples_of_the_beginning(patch):
  original = program.Program._plan

  def plan(self, stage, rows):
    n = _first(self, stage.shard, len(rows.ids))
    recipe, self.recipe = (
      self.recipe,
      dataclasses.replace(self.recipe, seed=self.recipe.seed + n),
    )
    try:
      return original(self, stage, rows)
    finally:
      self.recipe = recipe

  patch.setattr(program.Program, '_plan', plan)
  patch.setattr(canary, 'check', lambda *unused: None)  # it has other rows


def _the_head_stays_when_blocks_are_dropped(patch):
  original, deepest = program.Program.restore, {}

  def restore(self, stage, parent, own):
    state = original(self, stage, parent, own)
    heads = state.params['heads']
    mine = (stage.depth, heads[f'stage_{stage.depth}'])
    _, head = deepest[self] = max(
      mine, deepest.get(self, mine), key=lambda found: found[0]
    )
    heads = {**heads, f'stage_{stage.depth}': head}
    return state._replace(params={**state.params, 'heads': heads})

  patch.setattr(program.Program, 'restore', restore)


TAINTED = {
  _normalization_is_kept: 'mlp',
  _classes_are_those_that_were_there: 'mlp',
  _statistics_are_kept: 'normed',
  _moments_are_kept: 'mlp',
  _averages_are_kept: 'mlp',
  _training_stops_early_by_rows_that_left: 'mlp',
  _the_shuffle_counts_the_examples_of_the_beginning: 'mlp',
  _the_horizon_is_that_of_the_beginning: 'mlp',
  _the_head_stays_when_blocks_are_dropped: 'vit',
}


@pytest.mark.parametrize('defect', TAINTED, ids=lambda d: d.__name__.strip('_'))
def test_what_is_kept_from_before_is_seen(defect, tmp_path, monkeypatch):
  defect(monkeypatch)
  with pytest.raises(AssertionError):
    test_taint.check(TAINTED[defect], tmp_path)


def _recipe(**fields):
  base = {
    'data': {'name': 'digits'},
    'model': {'name': 'mlp', 'hidden': [8]},
    'optimizer': {'name': 'adam', 'learning_rate': 0.01},
  }
  return recipe.Recipe.from_json({**base, **fields})


CHANGES = {
  'model': {'name': 'mlp', 'hidden': [9]},
  'strategy': 's3t',
  'shards': 5,
  'slices': 5,
  'placement': {'salt': 'other'},
  'optimizer': {'name': 'adam', 'learning_rate': 0.02},
  'schedule': {'name': 'linear'},
  'augment': {'shift': 1},
  'label_smoothing': 0.1,
  'batch_size': 65,
  'epochs': 2,
  'carry': True,
  'mesh': {'data': 2, 'model': 1},
  'seed': 1,
}
SERVED = {
  'data': {'name': 'digits', 'split': 'all'},
  'sequences': {'kind': 'cyclic', 'budget': 2},
  'aggregate': 'vote',
  'fallback': 'prior',
  'retention': 60.0,
}


def test_every_field_of_a_recipe_is_either_in_the_name_or_only_serves():
  fields = {field.name for field in dataclasses.fields(recipe.Recipe)}
  assert fields == set(CHANGES) | set(SERVED)


@pytest.mark.parametrize('field', sorted(CHANGES))
def test_changing_any_hyperparameter_changes_every_name(field):
  data = _recipe().open_data()
  before = _recipe().digest(data)
  assert _recipe(**{field: CHANGES[field]}).digest(data) != before
  assert _recipe().digest(data) == before


@pytest.mark.parametrize('field', sorted(CHANGES))
def test_a_field_that_is_left_out_of_the_name_is_seen(field, monkeypatch):
  original, usual = recipe.Recipe.digest, getattr(_recipe(), field)

  def digest(self, data):
    return original(dataclasses.replace(self, **{field: usual}), data)

  monkeypatch.setattr(recipe.Recipe, 'digest', digest)
  with pytest.raises(AssertionError):
    test_changing_any_hyperparameter_changes_every_name(field)


@pytest.mark.parametrize('field', sorted(SERVED))
def test_what_only_serves_is_in_no_name(field):
  data = _recipe().open_data()
  other = _recipe(**{field: SERVED[field]})
  assert other.digest(data) == _recipe().digest(data)


def test_public_facts_and_the_schema_are_in_the_name(monkeypatch):
  data = _recipe().open_data()
  before = _recipe().digest(data)
  for fact in (
    {'mean': np.float32(1)},
    {'std': np.float32(2)},
    {'input_shape': (64,)},
    {'task': types.Task('classification', 11)},
  ):
    other = dataclasses.replace(data, **fact)
    assert _recipe().digest(other) != before
  monkeypatch.setattr(recipe, 'SCHEMA', recipe.SCHEMA + 1)
  assert _recipe().digest(data) != before


def test_content_and_id_are_in_the_name():
  def leaf(key, name, owner, content):
    rows = np.frombuffer(content * 32, np.uint8).reshape(1, 32)
    sealed = merkle.seals(key, [owner], rows)
    return merkle.leaves(merkle.tokens(key, [name]), sealed).tobytes()

  leaves = {
    leaf(b'salt', name, owner, content)
    for name in (1, '1', 11, 'a')
    for owner in (1, '1')
    for content in (b'x', b'y')
  } | {leaf(b'other', 1, 1, b'x')}
  assert len(leaves) == 17
  some = sorted(leaves)[:5]
  roots = {merkle.root(b''.join(some[:k])) for k in range(6)}
  assert len(roots) == 6


def test_slices_are_told_apart_in_a_name():
  """Joined without a mark, slices 1 and 12 would be 11 and 2."""
  # Distinct slices, and some that are alike: all of them are empty.
  for contents in (range(13), [0] * 13):
    roots = [[bytes([i]) * 32 for i in contents]] * 2
    names = {
      stages.name(b'r' * 32, stages.Stage(shard, prefix), roots)
      for prefix in ((1, 12), (11, 2), (1, 1, 2), (12, 1), (1,), (11,))
      for shard in (0, 1)
    }
    assert len(names) == 12


def test_flags_that_move_bits_are_in_the_fingerprint():
  """They are in no name: another machine must not switch a system off."""
  before = devices.comparable(devices.fingerprint())
  for context in (
    jax.threefry_partitionable(not jax.config.jax_threefry_partitionable),
    jax.default_prng_impl('rbg'),
    jax.default_matmul_precision('highest'),
    jax.enable_x64(True),
  ):
    with context:
      after = devices.comparable(devices.fingerprint())
    assert len({k for k in before if before[k] != after[k]}) == 1


def _slices_are_joined_without_a_mark(patch):
  def name(digest, stage, roots):
    text = f'{stage.shard}:{"".join(map(str, stage.prefix))}'.encode()
    mine = b''.join(roots[stage.shard][part] for part in stage.prefix)
    return hashlib.sha256(digest + text + mine).hexdigest()

  patch.setattr(stages, 'name', name)


def _prefixes_are_sets(patch):
  original = stages.name

  def name(digest, stage, roots):
    prefix = tuple(sorted(stage.prefix))
    return original(digest, stage._replace(prefix=prefix), roots)

  patch.setattr(stages, 'name', name)


def _names_are_of_a_whole_shard(patch):
  original = stages.name

  def name(digest, stage, roots):
    return original(digest + b''.join(roots[stage.shard]), stage, roots)

  patch.setattr(stages, 'name', name)


def _an_odd_example_is_in_no_name(patch):
  original = merkle.root

  def root(leaves):
    return original(leaves[: len(leaves) - len(leaves) % 64])

  patch.setattr(merkle, 'root', root)


def _contents_are_in_no_name(patch):
  def seals(key, owners, contents):
    return original(key, owners, np.zeros_like(contents))

  original = merkle.seals
  patch.setattr(merkle, 'seals', seals)


def _ids_are_text_in_names(patch):
  original = merkle.tokens
  patch.setattr(
    merkle,
    'tokens',
    lambda key, names, *kind: original(key, map(str, names), *kind),
  )


def _a_flag_is_not_in_the_fingerprint(patch):
  flags = set(devices._CONFIG) - {'jax_threefry_partitionable'}
  patch.setattr(devices, '_CONFIG', tuple(flags))


def _random_bits_are_of_a_batch(patch):
  patch.setattr(keys, 'root', lambda seed: jax.random.key(seed, impl='rbg'))


def _layers_are_matched_by_a_part_of_their_name(patch):
  def block_paths(block):
    return lambda path: f'block_{block}' in path or f'stage_{block}' in path

  patch.setattr(lora, 'block_paths', block_paths)


def _a_batch_is_thought_to_be_sorted(patch):
  original = records.Records.set_alive

  def set_alive(self, positions, alive):
    everybody = np.arange(len(self))
    at = np.searchsorted(positions, everybody)
    found = positions[np.minimum(at, len(positions) - 1)] == everybody
    return original(self, np.flatnonzero(found), alive)

  patch.setattr(records.Records, 'set_alive', set_alive)


class _NamesOfNow:
  """Instead of those that a plan was made for."""

  def __init__(self, system):
    self._system = system

  def __getitem__(self, stage):
    return self._system.names()[stage]

  def get(self, stage):
    return self._system.names().get(stage)

  def __eq__(self, other):
    return True


def _a_running_stage_takes_the_name_of_now(patch):
  original = system_lib.System._plan

  def plan(self):
    now = _NamesOfNow(self)
    return original(self)._replace(names=now, changes=now)

  patch.setattr(system_lib.System, '_plan', plan)


def _nobody_is_known_to_have_left(patch):
  def was_deleted(self, names, kind='id'):
    return np.zeros(len(names), bool)

  patch.setattr(ledger.Ledger, 'was_deleted', was_deleted)


def _found(patch, change):
  """Plants `change(records, ids)` in what is looked up."""
  original = records.Records.find

  def find(self, ids):
    ids = np.asarray(ids)
    return original(self, change(self, ids) if ids.dtype.kind == 'i' else ids)

  patch.setattr(records.Records, 'find', find)


def _unknown_ids_are_passed_over(patch):
  original = books.Books.resolve

  def resolve(self, asked):
    known = self.records.ids.tolist()
    asked = [a._replace(ids=[i for i in a.ids if i in known]) for a in asked]
    return original(self, asked)

  patch.setattr(books.Books, 'resolve', resolve)


def _ids_wrap_around(patch):
  _found(patch, lambda self, ids: np.int64(ids.astype(np.int32)))


def _ids_out_of_range_are_the_last(patch):
  _found(patch, lambda self, ids: np.minimum(ids, self.ids.max()))


def _negative_ids_count_from_the_end(patch):
  _found(
    patch,
    lambda self, ids: np.where(ids < 0, self.ids[ids % len(self)], ids),
  )


def _a_prior_is_not_looked_at(patch):
  original = partition.place
  patch.setattr(
    partition,
    'place',
    lambda owners, **kwargs: original(owners, **{**kwargs, 'prior': None}),
  )


def _edges_are_quantiles_of_those_who_are_there(patch):
  original = partition._by_prior

  def by_prior(owners, probability, otherwise, edges):
    p = [probability.get(str(owner), otherwise) for owner in owners.tolist()]
    slices = len(edges) + 1
    edges = np.quantile(p, np.arange(1, slices) / slices)
    return original(owners, probability, otherwise, edges)

  patch.setattr(partition, '_by_prior', by_prior)


_stream = functools.partial(
  test_locality.test_exactly_the_stages_that_saw_a_deletion_are_missing, first=0
)
_hostile = functools.partial(test_ids.test_hostile_ids_are_refused, kind='int')
# Seen by other checks than the scenario.
ELSEWHERE = {
  _slices_are_joined_without_a_mark: test_slices_are_told_apart_in_a_name,
  _prefixes_are_sets: test_slices_are_told_apart_in_a_name,
  _contents_are_in_no_name: test_content_and_id_are_in_the_name,
  _ids_are_text_in_names: test_content_and_id_are_in_the_name,
  _a_flag_is_not_in_the_fingerprint: (
    test_flags_that_move_bits_are_in_the_fingerprint
  ),
  _names_are_of_a_whole_shard: _stream,
  _a_batch_is_thought_to_be_sorted: _stream,
  _an_odd_example_is_in_no_name: functools.partial(
    test_locality.test_every_single_example_is_in_the_names_of_its_stages,
    n=103,
    slices=4,
  ),
  _random_bits_are_of_a_batch: test_step.test_dropout_belongs_to_the_example,
  _layers_are_matched_by_a_part_of_their_name: functools.partial(
    test_lora.test_each_block_holds_exactly_its_layers, depth=24, blocks=12
  ),
  _a_running_stage_takes_the_name_of_now: functools.partial(
    test_taint.test_a_person_may_leave_at_any_moment_of_the_training, moment=2
  ),
  _nobody_is_known_to_have_left: (
    test_system.test_a_deleted_example_comes_back_only_when_that_is_said
  ),
  _unknown_ids_are_passed_over: _hostile,
  _ids_wrap_around: _hostile,
  _ids_out_of_range_are_the_last: _hostile,
  _negative_ids_count_from_the_end: _hostile,
  _a_prior_is_not_looked_at: (
    test_partition.test_a_known_prior_saves_training_and_keeps_more_of_a_shard
  ),
  _edges_are_quantiles_of_those_who_are_there: functools.partial(
    test_partition.test_who_else_is_there_and_in_what_order_moves_nobody,
    kind='int',
  ),
}


@pytest.mark.parametrize(
  'defect', ELSEWHERE, ids=lambda d: d.__name__.strip('_')
)
def test_the_defect_is_seen_by_another_check(defect, request, monkeypatch):
  check = ELSEWHERE[defect]
  given = getattr(check, 'keywords', {})
  wanted = set(inspect.signature(check).parameters) - set(given)
  fixtures = {name: request.getfixturevalue(name) for name in wanted}
  defect(monkeypatch)
  seen = AssertionError, pytest.fail.Exception, errors.UnknownId
  with pytest.raises((*seen, errors.LedgerError)):
    check(**fixtures)
