"""The life of a system: what each call does, refuses and leaves alone."""

import json
import threading

import numpy as np
import pytest

from unlearn_jax import errors, registry, trees
from unlearn_jax.exact import canary, serving, stages, theory
from unlearn_jax.exact import system as system_lib

CLASSES = 3


def _write(path, n=60, seed=0, **change):
  rng = np.random.default_rng(seed)
  arrays = {
    'x': rng.normal(size=(n, 6)).astype(np.float32),
    'y': rng.integers(0, CLASSES, n),
    'id': np.arange(n) * 7 + 1,
    'owner': np.arange(n) // 2,
  }
  np.savez(path, **{**arrays, **change})
  return arrays


def _config(path, **fields):
  return {
    'data': {'name': 'npz', 'file': str(path), 'num_classes': CLASSES},
    'model': {'name': 'mlp', 'hidden': [8]},
    'optimizer': {'name': 'adam', 'learning_rate': 0.01},
    'shards': 3,
    'slices': 3,
    'sequences': {'kind': 'cyclic', 'budget': 2},
    'batch_size': 8,
    **fields,
  }


@pytest.fixture
def make(tmp_path):
  made = []

  def build(trained=True, **fields):
    folder = tmp_path / f'run {len(made)}'
    folder.mkdir()
    arrays = _write(folder / 'data.npz')
    config = _config(folder / 'data.npz', **fields)
    system = system_lib.System.create(str(folder / 'system'), config)
    if trained:
      system.train()
    made.append(system)
    return system, arrays

  yield build
  for system in made:
    system.close()


def _ids_in(system, shard, part, count=None):
  records = system._records
  here = records.alive & (records.shard == shard) & (records.slice == part)
  return records.ids[here][:count].tolist()


def _state(system):
  status = system.status()
  return json.dumps([status, system.digests(), system.served()], sort_keys=True)


def test_training_makes_every_stage_once(make):
  system, _ = make()
  assert len(system.wanted) == 3 * 2 * 3  # two rotations share no prefix
  orders = {'kind': 'cyclic', 'budget': 6}
  everything, _ = make(trained=False, sequences=orders)
  assert len(everything.wanted) == 3 * theory.trie_size(3)
  status = system.status()
  assert status['missing'] == status['stale'] == 0
  assert status['served_depths'] == [3, 3, 3]
  before = _state(system)
  assert system.train() == 0
  assert json.loads(before)[1] == system.digests()


def test_a_deletion_takes_effect_at_once_and_only_where_it_must(make):
  system, arrays = make()
  before, served = system.names(), system._view
  victim = _ids_in(system, 1, 0, 1)
  receipt = system.delete(ids=victim)
  after = system.names()
  gone = {stage for stage in system.wanted if before[stage] != after[stage]}
  assert gone == {s for s in system.wanted if s.shard == 1 and 0 in s.prefix}
  assert set(receipt.gone) == set(map(str, gone))
  assert receipt.deleted == 1 and receipt.already == 0
  # The other sequence of shard 1 begins elsewhere and still has one slice.
  assert system.sequences[1][0] != 0
  assert receipt.depths == (3, 1, 3)
  view = system._view
  assert view.stages[1] == stages.Stage(1, system.sequences[1][:1])
  for shard in (0, 2):
    assert trees.bit_diff(view.params[shard], served.params[shard]).equal
  (request,) = [r for r in system.status()['requests'] if r['kind'] == 'delete']
  assert request['deactivated'] and not request['repaired']


def test_repair_trains_exactly_the_missing_stages(make, monkeypatch):
  monkeypatch.setattr(canary, 'check', lambda *unused: None)  # it fits too
  system, _ = make()
  trained = []
  original = system._program.fit

  def counted(stage, *args):
    trained.append(stage)
    return original(stage, *args)

  system._program.fit = counted
  before = system.digests()
  receipt = system.delete(
    ids=_ids_in(system, 0, 1, 1) + _ids_in(system, 2, 0, 2)
  )
  assert system.repair() == len(trained)
  assert {str(stage) for stage in trained} == set(receipt.gone)
  assert len(set(trained)) == len(trained)
  after = system.digests()
  assert {s for s in after if after[s] != before[s]} == set(receipt.gone)
  (request,) = [r for r in system.status()['requests'] if r['kind'] == 'delete']
  assert request['repaired']
  assert system.repair() == 0


def test_one_compilation_serves_train_delete_repair_and_audit(make):
  system, _ = make(model={'name': 'mlp', 'hidden': [9]})
  assert system._program.engine.traces == 1
  applied = system._program.engine.apply
  x = np.zeros((5, 6), np.float32)
  system.predict(x)
  traced = applied._cache_size()
  for part in range(3):
    system.delete(ids=_ids_in(system, 0, part, 3))
    system.predict(x)
    system.repair()
    system.predict(x)
  assert system.audit('E2').passed and system.audit('E1').passed
  assert system._program.engine.traces == 1
  assert applied._cache_size() == traced == 1


def test_requests_are_idempotent_cumulative_and_all_or_nothing(make):
  system, arrays = make()
  first, second = arrays['id'][:2].tolist()
  assert system.delete(ids=[first, first]).deleted == 1
  again = system.delete(ids=[first, second])
  assert (again.deleted, again.already) == (1, 1)
  before = _state(system)
  repeated = system.delete(ids=[first, second])
  assert (repeated.request, repeated.deleted, repeated.already) == (None, 0, 2)
  assert system.delete().deleted == 0
  for bad in ([999], [int(arrays['id'][5]), 999], ['1'], [-1], [1.5]):
    with pytest.raises(errors.UnknownId, match=str(bad[-1])):
      system.delete(ids=bad)
  with pytest.raises(errors.UnknownId, match='77777'):
    system.delete(owners=[1, 77777])
  assert _state(system) == before


def test_deleting_an_owner_takes_all_of_their_rows(make):
  system, arrays = make()
  receipt = system.delete(owners=[4, 9])
  assert receipt.deleted == 4
  left = system._records.owners[system._records.alive]
  assert not np.isin(left, [4, 9]).any()
  with pytest.raises(errors.UnknownId, match='4'):
    system.delete(owners=['4'])
  system.close()
  again = system_lib.System.open(str(system.workdir))
  repeated = again.delete(owners=[4, 9])
  assert (repeated.deleted, repeated.already) == (0, 2)
  again.close()


def test_an_audit_reads_what_is_stored_and_not_what_is_recorded(make):
  system, _ = make()
  stage = stages.Stage(2, system.sequences[1][:1])  # served by nobody
  folder = system.workdir / 'stages' / system.names()[stage] / 'arrays'
  files = [path for path in folder.rglob('*') if path.is_file()]
  path = max(files, key=lambda p: p.stat().st_size)
  path.write_bytes(path.read_bytes()[:-1])
  found = system.audit('E2')
  assert found.damaged == (str(stage),) and not found.passed


def test_everything_can_be_deleted_and_nothing_then_answers(make):
  system, arrays = make()
  x = np.zeros((2, 6), np.float32)
  for shard in range(3):
    for part in range(3):
      if ids := _ids_in(system, shard, part):
        system.delete(ids=ids)
  assert system.status()['served_depths'] == [0, 0, 0]
  with pytest.raises(serving.AllShardsDead, match='none of 3 shards'):
    system.predict(x)
  system.repair()  # of models that saw nothing: as a fresh build has them
  assert system.audit('E2').passed
  assert system.status()['examples'] == 0
  assert np.isfinite(system.predict(x)).all()


def test_a_declared_prior_answers_when_nothing_else_may(make):
  system, _ = make(trained=False, fallback='prior')
  assert (system.predict(np.ones((2, 6))) == np.zeros((2, 3))).all()


def test_deleting_before_and_during_training(make):
  """A request in the middle of a repair takes effect and is never undone."""
  system, arrays = make(trained=False)
  system.delete(ids=[int(arrays['id'][0])])
  victims = arrays['id'][10:14].tolist()

  told = []

  def report(done, total):
    told.append(done)
    if len(told) in (3, 5, 9, 12):
      receipt = system.delete(ids=[victims.pop()])
      assert receipt.seconds < 5

  system.train(report)
  assert system.status()['missing'] == 0
  assert system.status()['examples'] == 60 - 5 and not victims
  assert system.audit('E2').passed


def test_other_threads_predict_while_a_repair_runs(make):
  system, arrays = make()
  x = arrays['x'][:10]
  whole = system.predict(x)
  system.delete(ids=_ids_in(system, 0, 0, 2))
  cut = system.predict(x)
  seen, stop = [], threading.Event()

  def read():
    while not stop.is_set():
      seen.append(system.predict(x).tobytes())

  readers = [threading.Thread(target=read) for _ in range(2)]
  for thread in readers:
    thread.start()
  system.repair()
  stop.set()
  for thread in readers:
    thread.join()
  # One view or the other, never a mixture, never the one from before.
  assert set(seen) <= {cut.tobytes(), system.predict(x).tobytes()}
  assert whole.tobytes() not in seen


def test_a_system_is_found_again_as_it_was(make):
  system, arrays = make()
  system.delete(ids=arrays['id'][:3].tolist())
  expected = _state(system)
  system.close()
  again = system_lib.System.open(str(system.workdir))
  assert _state(again) == expected
  assert again.delete(ids=[int(arrays['id'][0])]).already == 1
  again.close()


def test_new_examples_come_by_the_same_mechanism(make):
  system, arrays = make()
  path = system.recipe.data['file']
  more = {k: np.concatenate([v, v[:2]]) for k, v in arrays.items()}
  more['id'][-2:] = [10_001, 10_002]
  with pytest.raises(errors.UnknownId, match='10001'):
    system.add([10_001])
  np.savez(path, **more)
  assert system.add([10_001, 10_002, int(arrays['id'][0])]) == 2
  status = system.status()
  assert status['examples'] == 62 and 0 < status['missing'] < len(system.wanted)
  system.repair()
  assert system.audit('E2').passed


def test_a_deleted_example_comes_back_only_when_that_is_said(make):
  system, arrays = make()
  before = system.digest()
  victim = int(arrays['id'][0])
  system.delete(ids=[victim])
  with pytest.raises(errors.UnknownId, match=f'allow_reinsert.*{victim}'):
    system.add([victim])
  assert system.add([victim], allow_reinsert=True) == 1
  # The same names are derivable again, and their stages were never erased.
  assert system.status()['missing'] == 0
  assert system.digest() == before
  assert system.delete(ids=[victim]).deleted == 1


def test_a_changed_or_missing_survivor_is_an_error_that_names_it(make):
  system, arrays = make()
  path = system.recipe.data['file']
  system.delete(ids=[int(arrays['id'][1])])
  x = arrays['x'].copy()
  x[1] = 1e30  # deleted: never read again
  np.savez(path, **{**arrays, 'x': x})
  system.close()
  again = system_lib.System.open(str(system.workdir))
  again.repair()
  x[2] += 1
  np.savez(path, **{**arrays, 'x': x})
  again.close()
  again = system_lib.System.open(str(system.workdir))
  again.delete(ids=[int(arrays['id'][3])])
  with pytest.raises(
    errors.DataError, match=f'not what was admitted.*{arrays["id"][2]}'
  ):
    again.repair()
  kept = np.arange(60) != 5
  np.savez(path, **{k: v[kept] for k, v in arrays.items()})
  again.close()
  again = system_lib.System.open(str(system.workdir))
  with pytest.raises(errors.UnknownId, match=str(arrays['id'][5])):
    again.repair()
  again.close()


@pytest.mark.parametrize('aggregate', ['mean_logit', 'mean_prob', 'vote'])
def test_shards_are_combined_as_the_recipe_says(make, aggregate):
  system, arrays = make(aggregate=aggregate)
  x = arrays['x'][:7]
  logits = np.stack(
    [system._program.engine.apply(p, x) for p in system._view.params]
  )
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  votes = np.eye(CLASSES)[logits.argmax(-1)]
  expected = {
    'mean_logit': logits.mean(0),
    'mean_prob': p.mean(0),
    'vote': votes.mean(0),
  }[aggregate]
  np.testing.assert_allclose(system.predict(x), expected, atol=1e-5)
  assert system.predict(x[:0]).shape == (0, CLASSES)


def test_the_golden_case_of_the_longest_live_prefix():
  orders = ((0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 0, 1), (1, 2, 3, 0))
  dead = set()

  def exists(stage):
    return not dead & set(stage.prefix)

  served = []
  for part in (0, 1, 2, 3):
    dead.add(part)
    (stage,) = serving.choose(1, orders, exists)
    served.append(stage.prefix if stage else None)
  assert served == [(1, 2, 3), (2, 3), (3,), None]


@pytest.mark.parametrize(
  'fields, error, words',
  [
    ({'strategy': 'sisaa'}, errors.UnknownName, "'sisaa'.*s3t"),
    ({'shards': 0}, errors.ConfigError, 'shards.*0'),
    ({'slices': 2.5}, errors.ConfigError, 'slices.*2.5'),
    ({'shard': 3}, errors.UnknownArgument, "'shard'.*'shards'"),
    ({'strategy': 's3t'}, errors.ConfigError, '3 slices, 0 blocks'),
    ({'sequences': {'kind': 'cyclic', 'budget': 9}}, errors.ConfigError, '9'),
    ({'aggregate': 'median'}, errors.UnknownName, 'median'),
    ({'model': {'name': 'mpl'}}, errors.UnknownName, 'mlp'),
    ({'optimizer': {'name': 'sgd'}}, errors.UnknownArgument, 'learning_rate'),
    ({'placement': {'salty': 1}}, errors.UnknownName, 'salty'),
  ],
)
def test_a_wrong_recipe_is_refused_before_anything_is_made(
  tmp_path, fields, error, words
):
  _write(tmp_path / 'data.npz')
  config = _config(tmp_path / 'data.npz', **fields)
  with pytest.raises(error, match=words):
    system_lib.System.create(str(tmp_path / 'system'), config)
  assert not (tmp_path / 'system').exists()


def test_foreign_and_damaged_directories_are_refused(make, tmp_path):
  system, _ = make()
  with pytest.raises(errors.WorkdirError, match='not empty'):
    system_lib.System.create(str(system.workdir), system.recipe.to_json())
  (tmp_path / 'foreign').mkdir()
  (tmp_path / 'foreign' / 'letter.txt').write_text('dear')
  with pytest.raises(errors.WorkdirError, match='not empty'):
    system_lib.System.create(str(tmp_path / 'foreign'), system.recipe.to_json())
  assert (tmp_path / 'foreign' / 'letter.txt').read_text() == 'dear'
  with pytest.raises(errors.WorkdirError, match='no system'):
    system_lib.System.open(str(tmp_path / 'foreign'))
  with pytest.raises(errors.CheckpointError, match='missing'):
    fresh, _ = make(trained=False)
    fresh.digest()


def test_a_damaged_stage_is_refused_by_name_and_repaired_by_training(make):
  system, arrays = make()
  stage = stages.Stage(0, system.sequences[0])
  name = system.names()[stage]
  digest = system.digests()[str(stage)]
  folder = system.workdir / 'stages' / name / 'arrays'
  path = max(
    folder.rglob('*'), key=lambda p: p.stat().st_size if p.is_file() else 0
  )
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  system.close()
  with pytest.raises(errors.CheckpointError, match=name):
    system_lib.System.open(str(system.workdir))
  assert path.read_bytes() == bytes(content)
  assert digest


def test_rows_that_do_not_fit_the_device_are_streamed(make, tmp_path):
  system, _ = make(epochs=2)
  config = system.recipe.to_json()
  config['batch_size'] = 8
  streamed = system_lib.System.create(
    str(tmp_path / 'streamed'), config, resident_rows=16
  )
  streamed.train()
  assert streamed.digests() == system.digests()
  for each in (streamed, system):
    each.delete(ids=[1, 8, 15])
    each.repair()
  assert streamed.digests() == system.digests()
  assert system.audit('E2').passed
  streamed.close()


def test_regression_systems_work_too(tmp_path):
  arrays = _write(tmp_path / 'data.npz')
  np.savez(tmp_path / 'data.npz', **{**arrays, 'y': arrays['x'][:, :2]})
  config = _config(tmp_path / 'data.npz')
  config['data'] = {
    'name': 'npz',
    'file': str(tmp_path / 'data.npz'),
    'task': 'regression',
  }
  system = system_lib.System.create(str(tmp_path / 'system'), config)
  system.train()
  assert system.predict(arrays['x']).shape == (60, 2)
  system.delete(ids=[1, 8])
  system.repair()
  assert system.audit('E2').passed
  system.close()


def test_an_audit_sees_what_is_wrong(make):
  system, arrays = make()
  data = registry.make(
    'data', 'npz', file=system.recipe.data['file'], num_classes=CLASSES
  )
  assert system.audit('E2', data).passed
  system.delete(ids=[int(arrays['id'][0])])
  late = system.audit('E2')
  assert late.missing and not late.passed
  assert system.audit('E1').passed
  system.repair()
  dirty = system.audit('E2', data)  # still holds what was deleted
  assert dirty.other_name and not dirty.passed
  with pytest.raises(errors.UnknownName, match='E4.*E1'):
    system.audit('E4')
