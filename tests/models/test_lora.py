import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import errors, keys, losses, optimizers, registry, step, trees
from unlearn_jax.models import lora

BASE = {
  'name': 'vit',
  'patch': 4,
  'width': 16,
  'depth': 4,
  'heads': 2,
  'mlp_dim': 32,
}


def _x():
  return np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)


@functools.cache
def _made(head='per_stage', blocks=2):
  model = registry.make(
    'models', 'lora', num_outputs=3, base=BASE, blocks=blocks, rank=2, head=head
  )
  params = model.init(keys.root(0), _x())
  # As after training: nothing is at its neutral start.
  leaves = trees.flatten(params)
  for i, path in enumerate(leaves):
    if model.trainable(path):
      noise = jax.random.normal(
        keys.stream(keys.root(1), 'x', i), leaves[path].shape
      )
      leaves[path] = leaves[path] + 0.5 * noise
  return model, trees.unflatten(leaves), jax.jit(model.forward)


def _base_model():
  kwargs = dict(BASE)
  return registry.make('models', kwargs.pop('name'), num_outputs=3, **kwargs)


@pytest.mark.parametrize('head', lora.HEADS)
@pytest.mark.parametrize('poison', [1.0, np.nan])
def test_what_is_off_leaves_no_bit(head, poison):
  """Whatever later blocks and heads hold, a truncated model cannot see it."""
  model, params, forward = _made(head)
  truncated = model.blocks.at_depth(params, 1)
  expected = forward(truncated, _x())
  later = model.blocks.trainable(2)
  leaves = trees.flatten(truncated)
  changed = {
    p: leaf * poison + 1 if later(p) else leaf for p, leaf in leaves.items()
  }
  assert any(map(later, leaves))
  assert trees.bit_diff(forward(trees.unflatten(changed), _x()), expected).equal
  assert not trees.bit_diff(forward(params, _x()), expected).equal


def test_all_blocks_off_is_the_base_model_bit_for_bit():
  model, params, forward = _made()
  off = forward(model.blocks.at_depth(params, 0), _x())
  base = _base_model()
  weights = {**params['base'], 'head': params['heads']['stage_1']}
  plain = jax.jit(base.forward)(weights, _x())
  assert (off.features == plain.features).all()


@pytest.mark.parametrize('head', lora.HEADS)
def test_depth_is_an_array_of_one_program(head):
  model, params, _ = _made(head)
  traces = []

  @jax.jit
  def at(depth):
    traces.append(depth)
    return model.apply(model.blocks.at_depth(params, depth), _x())

  outputs = [at(jnp.int32(depth)) for depth in range(3)]
  assert len(traces) == 1
  for shallow, deep in zip(outputs, outputs[1:], strict=False):
    assert (shallow != deep).any()


def test_a_new_adapter_changes_nothing_and_training_it_does():
  model = registry.make('models', 'lora', num_outputs=3, base=BASE, blocks=2)
  params = model.init(keys.root(0), _x())
  forward = jax.jit(model.forward)
  on = forward(params, _x())
  off = forward(model.blocks.at_depth(params, 0), _x())
  assert (on.features == off.features).all()


@pytest.mark.parametrize('head', lora.HEADS)
@pytest.mark.parametrize('block', [1, 2])
def test_a_stage_moves_its_own_block_and_head_only(head, block):
  model, params, _ = _made(head)
  params = model.blocks.at_depth(params, block)
  mine = model.blocks.trainable(block)
  optimizer = optimizers.make('adamw', learning_rate=0.1)
  one_step = step.make_step(
    step.supervised(model, losses.cross_entropy), optimizer, trainable=mine
  )
  ids = keys.id_words(np.arange(5))
  table = step.Table(_x(), np.arange(5, dtype=np.int32) % 3, ids)
  batch = step.gather(jax.device_put(table), jnp.arange(5))
  state = step.init_state(params, optimizer, mine)
  after, _ = jax.jit(one_step)(state, batch, keys.root(0))
  changed = trees.bit_diff(params, after.params).problems
  assert {line.split(':')[0] for line in changed} == set(
    filter(mine, trees.flatten(params))
  )


@pytest.mark.parametrize(
  'depth, blocks, expected',
  [
    (12, 4, [[11, 10, 9], [8, 7, 6], [5, 4, 3], [2, 1, 0]]),
    (24, 7, [[23 - 3 * i - j for j in range(3)] for i in range(7)]),
    (2, 2, [[1], [0]]),
  ],
)
def test_blocks_go_from_top_to_bottom(depth, blocks, expected):
  assert lora.layers_of_blocks(depth, blocks) == expected


@pytest.mark.parametrize(
  'depth, blocks', [(12, 4), (12, 6), (24, 6), (24, 12), (40, 4)]
)
def test_each_block_holds_exactly_its_layers(depth, blocks):
  """Layers 1 and 10..19 share a prefix as text: a known leak of other code."""
  kwargs = {**BASE, 'depth': depth, 'width': 4, 'mlp_dim': 4, 'patch': 8}
  model = registry.make(
    'models', 'lora', num_outputs=2, base=kwargs, blocks=blocks, rank=1
  )
  params = jax.eval_shape(lambda: model.init(keys.root(0), _x()))
  for block, layers in enumerate(lora.layers_of_blocks(depth, blocks), start=1):
    chosen = filter(model.blocks.trainable(block), trees.flatten(params))
    adapters = [p for p in chosen if p.startswith('adapters/')]
    found = {
      int(path.split('/')[2].removeprefix('layer_')) for path in adapters
    }
    assert found == set(layers)
    assert len(adapters) == 4 * len(layers)  # a and b of query and value


def test_the_adapter_is_the_low_rank_product_of_the_paper():
  model, params, forward = _made()
  merged = trees.flatten(params['base'])
  for path, leaf in trees.flatten(params['adapters']).items():
    if path.endswith('/a'):
      place = path.split('/', 1)[1].removesuffix('/a')
      b = trees.flatten(params['adapters'])[path.removesuffix('a') + 'b']
      merged[f'{place}/kernel'] = (
        merged[f'{place}/kernel'] + 16 / 2**0.5 * leaf @ b
      )
  plain = _base_model().forward(
    {**trees.unflatten(merged), 'head': params['heads']['stage_2']}, _x()
  )
  np.testing.assert_allclose(
    forward(params, _x()).logits, plain.logits, rtol=1e-3, atol=1e-4
  )


def test_the_additive_head_is_a_sum_in_order():
  model, params, forward = _made('additive')
  features = forward(params, _x()).features
  heads = [params['heads'][name] for name in ('frozen', 'stage_1', 'stage_2')]
  kernel, bias = (
    sum(head[leaf] for head in heads) for leaf in ('kernel', 'bias')
  )
  np.testing.assert_allclose(
    forward(params, _x()).logits,
    features @ kernel + bias[None],
    rtol=1e-5,
    atol=1e-5,
  )
  assert not model.trainable('heads/frozen/kernel')


def test_wrong_fields_are_refused():
  make = functools.partial(
    registry.make, 'models', 'lora', num_outputs=2, base=BASE
  )
  with pytest.raises(errors.UnknownName, match="'shared'.*additive"):
    make(head='shared')
  x = _x()
  with pytest.raises(errors.UnknownName, match="'qeury'.*'query'"):
    make(targets=('qeury',)).init(keys.root(0), x)
  with pytest.raises(errors.ConfigError, match='5 blocks.*4'):
    make(blocks=5).init(keys.root(0), x)


def _poisoned(model, params, block):
  mine = model.blocks.trainable(block)
  return trees.unflatten(
    {p: x * np.nan if mine(p) else x for p, x in trees.flatten(params).items()}
  )


@pytest.mark.parametrize('head', lora.HEADS)
def test_nan_in_a_block_that_is_off_spoils_no_gradient(head):
  """Neither of the block in training nor, when all may move, of any other."""
  model, params, _ = _made(head, blocks=4)
  params = model.blocks.at_depth(params, 1)
  y = np.arange(5) % 3

  @functools.partial(jax.jit, static_argnums=1)
  def gradient(params, chosen):
    live, frozen = trees.partition(params, chosen)

    def loss(live):
      logits = model.apply(trees.merge(frozen, live), _x(), train=True)
      return jnp.mean(losses.cross_entropy(logits, y))

    return jax.value_and_grad(loss)(live)

  for chosen in (model.blocks.trainable(1), model.trainable):
    clean = gradient(params, chosen)
    poisoned = gradient(_poisoned(model, params, 2), chosen)
    assert trees.all_finite(poisoned)
    assert trees.bit_diff(clean, poisoned).equal
    assert any(np.any(leaf) for leaf in jax.tree.leaves(clean))


@pytest.mark.parametrize('head', lora.HEADS)
def test_a_block_that_is_off_might_as_well_not_be_there(head):
  model, params, _ = _made(head)
  params = model.blocks.at_depth(params, 1)
  without = {**params, 'adapters': {'block_1': params['adapters']['block_1']}}
  mine = model.blocks.trainable(1)
  optimizer = optimizers.make('adamw', learning_rate=0.1)
  one_step = jax.jit(
    step.make_step(
      step.supervised(model, losses.cross_entropy), optimizer, trainable=mine
    )
  )
  table = step.Table(
    _x(), np.arange(5, dtype=np.int32) % 3, keys.id_words(np.arange(5))
  )
  batch = step.gather(jax.device_put(table), jnp.arange(5))
  found = []
  for tree in (params, without):
    state, loss = one_step(
      step.init_state(tree, optimizer, mine), batch, keys.root(0)
    )
    chosen = trees.partition(state.params, mine)[0]
    found.append((jax.jit(model.apply)(tree, _x()), loss, chosen))
  assert trees.bit_diff(*found).equal


def test_adapters_begin_random_at_the_scale_of_their_inputs():
  base = {**BASE, 'width': 64, 'mlp_dim': 256}
  targets = ('query', 'value', 'mlp_out')
  model = registry.make(
    'models',
    'lora',
    num_outputs=2,
    base=base,
    blocks=2,
    rank=32,
    targets=targets,
  )
  flat = trees.flatten(model.init(keys.root(0), _x())['adapters'])
  a = {path: leaf for path, leaf in flat.items() if path.endswith('/a')}
  assert len(a) == 4 * len(targets)
  for path, leaf in a.items():
    assert leaf.shape[0] == (256 if 'mlp_out' in path else 64)
    np.testing.assert_allclose(np.std(leaf), leaf.shape[0] ** -0.5, rtol=0.1)
    assert not np.any(flat[path.removesuffix('a') + 'b'])
  assert len({trees.digest(leaf) for leaf in a.values()}) == len(a)


@pytest.mark.parametrize(
  'fields, words',
  [
    ({'blocks': 0}, 'blocks of lora is at least 1, got 0'),
    ({'rank': 0}, 'rank of lora is at least 1, got 0'),
    ({'base': {'patch': 4}}, 'has a name'),
    ({'base': {**BASE, 'num_outputs': 2}}, 'no num_outputs'),
    ({'base': {'name': 'mlp'}}, 'mlp cannot be the base.*projection'),
    ({'base': {'name': 'cnn'}}, 'cnn cannot be the base.*projection'),
    ({'base': {'name': 'lora', 'base': BASE}}, 'lora cannot be the base'),
  ],
)
def test_what_cannot_be_adapted_is_refused(fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    registry.make(
      'models', 'lora', num_outputs=2, **{'base': BASE, **fields}
    ).init(keys.root(0), _x())
