"""Which devices train a stage moves no bit of it; a mesh is a recipe's choice.

One model for every day, the others are slow.
"""

import pytest

from tests.exact import layouts
from unlearn_jax import errors
from unlearn_jax.exact import recipe as recipe_lib

KINDS = [
  kind if kind == 'mlp' else pytest.param(kind, marks=pytest.mark.slow)
  for kind in layouts.MODELS
]
MESH = {'data': 2, 'model': 2}
_TRAIN = """
  count, folder, config = int(arguments[0]), arguments[1], arguments[2]
  devices.simulate(count)
  seen = watched()
  s = systems().create(folder, json.loads(config))
  s.train()
  say(
    digests=s.digests(),
    digest=s.digest(),
    devices=sorted({tuple(where) for stage, where in seen}),
    traces=s._program.engine.traces,
    cores=devices.usable_cores(),
  )
"""


def _blocks(kind):
  return 2 if kind == 'vit' else 1


@pytest.mark.parametrize('kind', KINDS)
def test_four_devices_make_what_one_makes(kind, tmp_path):
  layouts.write(tmp_path / 'data.npz')
  config = layouts.config(kind, tmp_path / 'data.npz')
  one, four = (
    layouts.run(_TRAIN, count, str(tmp_path / f'on {count}'), config)
    for count in (1, 4)
  )
  assert one.pop('devices') == [[0]]
  assert four.pop('devices') == [[0], [1], [2], [3]]
  assert one == four
  assert one['traces'] == _blocks(kind)  # whatever the number of devices


_MESH = """
  devices.simulate(8)
  from unlearn_jax.exact import builder
  seen, begin = [], builder.Builder._begin
  def spy(self, stage, *rest):
    state = begin(self, stage, *rest)
    for leaf in trees.flatten(state.params).values():
      part = leaf.addressable_shards[0].data.shape
      ids = sorted(d.id for d in leaf.devices())
      seen.append((stage.shard, ids, leaf.shape != part))
    return state
  builder.Builder._begin = spy
  s = systems().create(arguments[0], json.loads(arguments[1]))
  s.train()
  gone = json.loads(arguments[2])
  if gone:
    assert s.delete(ids=gone).gone
    assert s.repair() < len(s.wanted)
    assert s.audit('E2').passed
  say(
    digests=s.digests(),
    groups=sorted({(shard, str(ids)) for shard, ids, _ in seen}),
    split=any(split for _, _, split in seen),
    traces=s._program.engine.traces,
    places=[str(shard) for shard in range(4)],
  )
"""


@pytest.mark.parametrize('kind', KINDS)
def test_two_groups_of_four_forget_exactly(kind, tmp_path):
  layouts.write(tmp_path / 'data.npz')
  gone = [5, 8, 11]
  layouts.write(tmp_path / 'clean.npz', without=gone)
  forgot, fresh = (
    layouts.run(
      _MESH,
      str(tmp_path / name),
      layouts.config(kind, tmp_path / f'{name}.npz', mesh=MESH),
      ids,
    )
    for name, ids in (('data', gone), ('clean', []))
  )
  assert forgot == fresh
  low, high = '[0, 1, 2, 3]', '[4, 5, 6, 7]'
  assert forgot['groups'] == [[0, low], [1, high], [2, low], [3, high]]
  assert forgot['split']
  assert forgot['traces'] == _blocks(kind)


def test_a_mesh_that_cannot_be_is_refused(tmp_path):
  layouts.write(tmp_path / 'data.npz')

  def recipe(mesh, **fields):
    return recipe_lib.Recipe.from_json(
      layouts.config('mlp', tmp_path / 'data.npz', mesh=mesh, **fields)
    )

  for mesh in (
    {'data': 2},
    {'data': 0, 'model': 2},
    {'data': 2.0, 'model': 1},
    {'data': True, 'model': 1},
    {'data': 1, 'model': 1, 'pipe': 1},
  ):
    with pytest.raises(errors.ConfigError, match='mesh is empty or'):
      recipe(mesh)
  with pytest.raises(errors.ConfigError, match='cannot be split'):
    recipe({'data': 3, 'model': 1})
  data = recipe({}).open_data()
  digests = {
    recipe(mesh).digest(data)
    for mesh in ({}, {'data': 1, 'model': 1}, MESH, {'data': 4, 'model': 1})
  }
  assert len(digests) == 4  # it moves bits, so it is in every name


_LOOP = """
  cores, count = (int(a) for a in arguments[:2])
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
  devices.simulate(count)
  import jax
  from unlearn_jax import keys, losses, optimizers, registry, step
  x = np.random.default_rng(0).normal(size=(128, 28, 28, 1))
  ids = np.arange(128)
  found = {}
  for name, args in json.loads(arguments[2]).items():
    model = registry.make('models', num_outputs=10, **args)
    optimizer = optimizers.make('adam', learning_rate=1e-3)
    loop = jax.jit(step.make_loop(step.make_step(
      step.supervised(model, losses.cross_entropy), optimizer
    )))
    table = step.Table(
      np.float32(x), np.int32(ids % 10), keys.id_words(ids)
    )
    params = model.init(keys.root(0), np.float32(x[:1]))
    state = step.init_state(params, optimizer)
    plan = np.int32(ids.reshape(2, 64))
    put = jax.device_put((state, table, plan), jax.devices()[-1])
    state, _ = loop(*put, keys.root(1), 0, 2, 2)
    found[name] = trees.digest(state.params)
  say(**found)
"""
_LARGER = {
  'cnn': {'name': 'cnn', 'widths': [16, 32], 'hidden': 64},
  'mlp': {'name': 'mlp'},
  'vit': {
    'name': 'vit',
    'patch': 7,
    'width': 32,
    'depth': 2,
    'heads': 2,
    'mlp_dim': 64,
  },
}


@pytest.mark.slow
def test_only_the_thread_pool_moves_bits():
  def run(nproc, cores, count):
    return layouts.run(_LOOP, cores, count, _LARGER, nproc=nproc)

  pinned = run(4, 2, 1)
  for cores, count in ((1, 1), (2, 4), (1, 4)):
    assert run(4, cores, count) == pinned, (cores, count)
  # Without the pin, sums over many rows are cut by the size of the pool. On an
  # x86 machine a conv net and a transformer of this size came out different;
  # which models do is the machine's affair, so that alone is not asserted.
  alone = run(1, 2, 1)
  print('moved by the pool:', [n for n in alone if alone[n] != pinned[n]])
