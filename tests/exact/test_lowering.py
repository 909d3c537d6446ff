"""The programs are those of accelerators too, and of pmap.

Nothing runs on a TPU or GPU here. Lowering is what can be shown without one:
every operation of the programs has a meaning there.
"""

import functools

import jax
import numpy as np
import pytest
from jax import export

from tests.exact import layouts
from unlearn_jax import keys, step
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib

NATIVE = {'name': 'cnn', 'widths': [4, 8], 'hidden': 8, 'conv': 'native'}
KINDS = {'mlp': {}, 'vit': {}, 'cnn': {'model': NATIVE}}


@pytest.fixture(params=KINDS)
def program(request, tmp_path):
  layouts.write(tmp_path / 'data.npz', n=4)
  config = layouts.config(
    request.param, tmp_path / 'data.npz', **KINDS[request.param]
  )
  recipe = recipe_lib.Recipe.from_json(config)
  return program_lib.Program(recipe, recipe.open_data('all'))


@pytest.mark.parametrize('platform', ['tpu', 'cuda'])
def test_fit_and_predict_are_lowered_for(platform, program):
  batch = program.recipe.batch_size
  abstract = jax.ShapeDtypeStruct
  params = jax.eval_shape(lambda: program.start(0).params)
  table = step.Table(
    abstract((64, *layouts.SHAPE), np.float32),
    abstract((64,), np.int32),
    abstract((64, 2), np.uint32),
  )
  plan = abstract((16, batch), np.int32)
  key, count = jax.eval_shape(lambda: keys.root(0)), abstract((), np.int32)
  for depth in (1, 2):
    trains = program.engine.trains(depth)
    fresh = functools.partial(
      step.init_state, optimizer=program.engine.optimizer, trainable=trains
    )
    state = jax.eval_shape(fresh, params)
    exported = export.export(program.engine.loop(depth), platforms=[platform])(
      state, table, plan, key, count, count, count
    )
    assert exported.platforms == (platform,)
    assert 'stablehlo.while' in exported.mlir_module()  # the loop is inside
  images = abstract((128, *layouts.SHAPE), np.float32)
  exported = export.export(program.engine.apply, platforms=[platform])(
    params, images
  )
  assert exported.out_avals[0].shape == (128, layouts.CLASSES)


_PMAP = """
  devices.simulate(2)
  import jax, jax.numpy as jnp
  from unlearn_jax import keys
  from unlearn_jax.exact import program, recipe, records, stages

  def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

  def problems(config):
    chosen = recipe.Recipe.from_json(config)
    data = chosen.open_data()
    found = records.Records(
      chosen, b'', data.ids, data.owners, data.content_digests()
    )
    ours, alone, arguments = program.Program(chosen, data), [], []
    for shard, device in enumerate(jax.devices()):
      stage, at = stages.Stage(shard, (0,)), found.survivors(shard)
      rows = ours.rows(data.take(at), found.slice[at], 64, device)
      start = ours.start(shard)
      alone.append(ours.fit(stage, start, rows, device).params)
      state = ours.engine.start(1)(start)
      plan, steps = ours._plan(stage, rows)
      key = keys.stream(keys.root(chosen.seed), 'stage', shard, 0)
      table = jax.tree.map(np.asarray, rows.table)
      arguments.append((state, table, plan, key, 0, steps, steps))
    both, _ = jax.pmap(ours.engine.loop(1))(*stack(arguments))
    return [
      trees.bit_diff(mine, jax.tree.map(lambda leaf: leaf[i], both.params))
      .problems
      for i, mine in enumerate(alone)
    ]

  configs = json.loads(arguments[0])
  say(**{kind: problems(config) for kind, config in configs.items()})
"""


def _compare_with_pmap(kinds, folder):
  layouts.write(folder / 'data.npz')
  configs = {k: layouts.config(k, folder / 'data.npz') for k in kinds}
  found = layouts.run(_PMAP, configs)
  assert found == {kind: [[], []] for kind in kinds}


def test_pmap_gives_the_bits_of_our_dispatch(tmp_path):
  _compare_with_pmap(['mlp'], tmp_path)


@pytest.mark.slow
def test_pmap_gives_the_bits_of_our_dispatch_for_every_model(tmp_path):
  _compare_with_pmap(['vit', 'cnn'], tmp_path)
