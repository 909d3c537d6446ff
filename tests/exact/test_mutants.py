"""Known defects, planted one at a time: the checks of E1 and E2 must see them.

Most were found in published unlearning code. A check that stays green with its
defect in place proves nothing.
"""

import dataclasses

import numpy as np
import pytest

from tests.exact import test_e2
from unlearn_jax import errors, keys, trees, types
from unlearn_jax.exact import (
  builder,
  ledger,
  partition,
  program,
  recipe,
  records,
  serving,
  stages,
)
from unlearn_jax.exact import system as system_lib

KINDS = ('per_stage', 'mlp')


def scenario(kind, folder):
  """Train, delete, look (E1), repair, look (E2): first, middle, last slice."""
  rng = np.random.default_rng(5)
  world = test_e2.make_world(rng, folder / 'data.npz', strings=False)
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
  finally:
    system.close()


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
  patch.setattr(keys, 'order', lambda ids, salt: np.arange(len(ids)))


def _order_is_the_same_in_every_epoch(patch):
  original = keys.order
  patch.setattr(
    keys,
    'order',
    lambda ids, salt: original(ids, salt.split('/epoch')[0]),
  )


def _the_last_slice_is_not_in_the_name(patch):
  original = stages.name

  def name(digest, stage, roots):
    return original(digest, stage._replace(prefix=stage.prefix[:-1]), roots) + (
      str(stage)
    )

  patch.setattr(stages, 'name', name)


def _names_ignore_the_examples(patch):
  patch.setattr(stages, 'sorted_root', lambda level: b'constant' * 4)


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


def _only_the_first_missing_stage_is_repaired(patch):
  original = system_lib.System._plan
  calls = []

  def plan(self):
    found = original(self)
    calls.append(found)
    # After the first training, whose plan is whole.
    whole = len(found.missing) == len(self.wanted)
    return found._replace(missing=found.missing if whole else [])

  patch.setattr(system_lib.System, '_plan', plan)


def _the_old_model_is_served_after_a_deletion(patch):
  original = system_lib.System._switch

  def switch(self, names=None):
    if not self._server.view.stages or not self._books.changes:
      original(self, names)

  patch.setattr(system_lib.System, '_switch', switch)


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

  def delete(self, ids, owners):
    count.append(ids)
    return original(self, ids if len(count) != 2 else ids[:0], owners)

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
  _only_the_first_missing_stage_is_repaired: SISA,
  _the_old_model_is_served_after_a_deletion: S3T,
  _a_request_replaces_the_one_before: SISA,
  _the_ledger_forgets_a_request: SISA,
  _one_row_of_an_owner_stays: SISA,
  _the_longest_prefix_is_served_dead_or_alive: SISA,
}


@pytest.mark.parametrize('defect', DEFECTS, ids=lambda d: d.__name__.strip('_'))
def test_the_defect_is_seen(defect, tmp_path, monkeypatch):
  if defect in COMPILED:  # what is planted must not stay in later tests
    monkeypatch.setattr(program, '_ENGINES', {})
  defect(monkeypatch)
  with pytest.raises((AssertionError, KeyError, errors.CheckpointError)):
    scenario(DEFECTS[defect], tmp_path)


# Defects that get into the compiled programs.
COMPILED = {
  _a_stage_trains_the_next_block_too,
  _all_stages_train_one_head,
  _earlier_blocks_are_reset,
}


def _recipe(**fields):
  base = {
    'data': {'name': 'digits'},
    'model': {'name': 'mlp', 'hidden': [8]},
    'optimizer': {'name': 'adam', 'learning_rate': 0.01},
  }
  return recipe.Recipe.from_json({**base, **fields})


CHANGES = {
  'model': {'name': 'mlp', 'hidden': [9]},
  'strategy': None,  # needs a model with blocks: the field is forced below
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
}


def test_every_field_of_a_recipe_is_either_in_the_name_or_only_serves():
  fields = {field.name for field in dataclasses.fields(recipe.Recipe)}
  assert fields == set(CHANGES) | set(SERVED)


@pytest.mark.parametrize('field', sorted(set(CHANGES) - {'strategy'}))
def test_changing_any_hyperparameter_changes_every_name(field):
  data = _recipe().open_data()
  before = _recipe().digest(data)
  assert _recipe(**{field: CHANGES[field]}).digest(data) != before
  assert _recipe().digest(data) == before


@pytest.mark.parametrize('field', sorted(SERVED))
def test_what_only_serves_is_in_no_name(field):
  data = _recipe().open_data()
  other = _recipe(**{field: SERVED[field]})
  assert other.digest(data) == _recipe().digest(data)


def test_public_facts_and_the_schema_are_in_the_name(monkeypatch):
  data = _recipe().open_data()
  before = _recipe().digest(data)
  other = dataclasses.replace(data, mean=np.float32(1))
  assert _recipe().digest(other) != before
  other = dataclasses.replace(data, task=types.Task('classification', 11))
  assert _recipe().digest(other) != before
  monkeypatch.setattr(recipe, 'SCHEMA', recipe.SCHEMA + 1)
  assert _recipe().digest(data) != before


def test_content_and_id_are_in_the_name():
  leaves = {
    stages.leaf(b'salt', name, content)
    for name in (1, '1', 11, 'a')
    for content in (b'x' * 32, b'y' * 32)
  } | {stages.leaf(b'other', 1, b'x' * 32)}
  assert len(leaves) == 9
  some = sorted(leaves)[:5]
  roots = {stages.root(some[:k]) for k in range(6)}
  assert len(roots) == 6
  assert stages.root(some[::-1]) == stages.root(some)


def test_slices_are_told_apart_in_a_name():
  """Joined without a mark, slices 1 and 12 would be 11 and 2."""
  roots = [[bytes([i]) * 32 for i in range(13)]]
  names = {
    stages.name(b'r' * 32, stages.Stage(0, prefix), roots)
    for prefix in ((1, 12), (11, 2), (1, 1, 2), (12, 1), (1,), (11,))
  }
  assert len(names) == 6
