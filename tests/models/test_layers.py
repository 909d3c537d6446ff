import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import errors, keys, registry, trees
from unlearn_jax.models import _layers


def _images(n=4, size=8, channels=3):
  rng = np.random.default_rng(0)
  return rng.normal(size=(n, size, size, channels)).astype(np.float32)


@pytest.mark.parametrize('window', [1, 3, 5, 7])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [7, 8])
@pytest.mark.parametrize('padding', [True, False])
def test_im2col_is_a_convolution(window, stride, size, padding):
  x = _images(size=size)
  layers = {
    mode: _layers.Conv(5, window, stride, mode, padding=padding)
    for mode in _layers.CONV_MODES
  }
  params = layers['native'].init(keys.root(0), x)
  native, shifted = (
    layers[mode].apply(params, x) for mode in ('native', 'im2col')
  )
  side = -(-(size if padding else size - window + 1) // stride)
  assert native.shape == shifted.shape == (4, side, side, 5)
  np.testing.assert_allclose(native, shifted, atol=1e-5)


def test_softmax():
  scores = np.array([[0.0, 1.0, 1e4], [-1e4, 0.0, 0.0]], np.float32)
  np.testing.assert_allclose(
    _layers.softmax(scores), jax.nn.softmax(scores), atol=1e-6
  )
  # Its gradient too: the subtracted maximum must not enter it.
  for function in (_layers.softmax, jax.nn.softmax):
    gradient = jax.grad(lambda s, f=function: f(s)[0])(jnp.array([0.1, 0.7]))
    np.testing.assert_allclose(gradient, [0.228784, -0.228784], rtol=1e-4)


def test_max_pool_leaves_out_an_odd_edge():
  x = np.arange(25.0).reshape(1, 5, 5, 1)
  assert _layers.max_pool(x)[0, :, :, 0].tolist() == [[6, 8], [16, 18]]


def _batch_norm_model():
  return registry.make('models', 'resnet', num_outputs=3, width=4, norm='batch')


def test_batch_statistics_ignore_padding():
  """As plain statistics would not: that leak is one that tests must see."""
  model, x = _batch_norm_model(), _images(6)
  params = model.init(keys.root(0), x)
  weight = jnp.array([1.0, 1, 1, 1, 0, 0])
  forward = jax.jit(lambda x, w: model.forward(params, x, train=True, weight=w))
  first = forward(x, weight)
  second = forward(
    x.__copy__() * (1 + 9 * (weight == 0)[:, None, None, None]), weight
  )
  assert trees.bit_diff(first.stats, second.stats).equal
  assert (first.logits[:4] == second.logits[:4]).all()
  assert not trees.bit_diff(first.stats, forward(x, None).stats).equal
  short = model.forward(params, x[:4], train=True)
  np.testing.assert_allclose(short.logits, first.logits[:4], atol=1e-4)


def test_batch_statistics_are_state_that_only_training_moves():
  model, x = _batch_norm_model(), _images()
  params = model.init(keys.root(0), x)
  assert not any(
    map(model.trainable, trees.flatten({'stats': params['stats']}))
  )
  assert model.forward(params, x).stats is None
  moved = model.forward(params, x, train=True).stats
  assert trees.digest(moved) != trees.digest(params['stats'])
  nothing = model.forward(params, x, train=True, weight=jnp.zeros(4)).stats
  assert trees.bit_diff(nothing, params['stats']).equal
  # The running mean goes a tenth of the way to the batch's.
  first = trees.flatten(moved)['stem/norm/batch/mean']
  kernel = params['stem']['conv']['kernel'].reshape(-1, 4)
  expected = np.mean(_layers._shifted(x, 3, 1, 1) @ kernel, axis=(0, 1, 2)) / 10
  np.testing.assert_allclose(first, expected, atol=1e-5)


def test_dropout_needs_a_key_and_keeps_the_mean():
  model = registry.make(
    'models', 'mlp', num_outputs=2, hidden=(512,), dropout=0.5
  )
  x = np.ones((2, 3), np.float32)
  params = model.init(keys.root(0), x)
  with pytest.raises(ValueError, match='key'):
    model.apply(params, x, train=True)
  dropped = model.forward(params, x, key=keys.root(0), train=True).features
  plain = model.forward(params, x).features
  alive = plain[0] > 0
  kept = (dropped[0] > 0)[alive]
  assert 0.4 < float(np.mean(kept)) < 0.6
  np.testing.assert_allclose(
    dropped[0][alive][kept], 2 * plain[0][alive][kept], rtol=1e-6
  )
  assert (dropped[0] != dropped[1]).any()


@pytest.mark.parametrize(
  'name, field, value',
  [
    ('cnn', 'conv', 'im2row'),
    ('resnet', 'depth', 50),
    ('resnet', 'norm', 'layer'),
    ('resnet', 'form', 'thin'),
    ('vit', 'variant', 'huge'),
    ('vit', 'pool', 'max'),
    ('vit', 'gelu', 'relu'),
  ],
)
def test_wrong_fields_are_refused_with_the_allowed_ones(name, field, value):
  with pytest.raises(errors.UnknownName, match=f'{value!r}.*Allowed'):
    registry.make('models', name, num_outputs=2, **{field: value})


def test_sizes_that_do_not_divide_are_refused():
  with pytest.raises(errors.ConfigError, match='heads 5'):
    registry.make('models', 'vit', num_outputs=2, width=16, heads=5)
  model = registry.make(
    'models',
    'vit',
    num_outputs=2,
    patch=3,
    width=16,
    heads=2,
    depth=1,
    mlp_dim=16,
  )
  with pytest.raises(errors.ConfigError, match='patch 3.*8 x 8'):
    model.init(keys.root(0), _images())


@pytest.mark.parametrize(
  'kwargs, expected',
  [
    ({'depth': 18}, 11_173_962),  # the usual CIFAR ResNet-18, whose norms match
    ({'depth': 18, 'norm': 'batch'}, 11_173_962 + 2 * 4_800),
    ({'depth': 9}, 6_573_130),
    ({'form': 'light', 'norm': 'batch'}, 2_274_880 + 2 * 1_344),
  ],
)
def test_residual_networks_have_their_published_size(kwargs, expected):
  model = registry.make('models', 'resnet', num_outputs=10, **kwargs)
  shapes = jax.eval_shape(
    lambda: model.init(keys.root(0), np.zeros((1, 32, 32, 3), np.float32))
  )
  assert trees.count(shapes) == expected


@pytest.mark.slow
def test_the_light_resnet_says_a_fifth_of_what_its_head_says():
  model = registry.make(
    'models', 'resnet', num_outputs=3, width=4, form='light', norm='batch'
  )
  x = _images(size=16)
  params = model.init(keys.root(0), x)
  out = model.forward(params, x)
  kernel = params['head']['kernel']
  assert kernel.shape == (8, 3) and set(params['head']) == {'kernel'}
  np.testing.assert_allclose(
    out.logits, 0.2 * (out.features @ kernel), rtol=1e-5
  )
  with pytest.raises(errors.UnknownName, match='form of depth 18'):
    registry.make('models', 'resnet', num_outputs=3, depth=18, form='light')


def test_softmax_multiplies_by_a_reciprocal():
  """Which is what keeps its bits where a compiler would choose for itself."""
  scores = np.random.default_rng(0).normal(size=(7, 33)).astype(np.float32)
  text = str(jax.make_jaxpr(_layers.softmax)(scores))
  divided = [line for line in text.splitlines() if ' div ' in line]
  assert divided and all('f32[7,1] = div' in line for line in divided), text


def _group_norm(x, groups, scale, bias, eps=1e-6):
  """In float64, an example and a group at a time."""
  out = np.zeros(x.shape)
  size = x.shape[-1] // groups
  for row in range(len(x)):
    for group in range(groups):
      at = slice(group * size, (group + 1) * size)
      part = np.float64(x[row, ..., at])
      out[row, ..., at] = (part - part.mean()) / np.sqrt(part.var() + eps)
  return out * scale + bias


@pytest.mark.parametrize(
  'name, kwargs, norm, groups',
  [
    ('cnn', {'widths': (16, 4)}, ('norm_0', 'group'), 8),
    ('cnn', {'widths': (6, 4)}, ('norm_0', 'group'), 6),
    ('resnet', {'width': 16}, ('stem', 'norm', 'group'), 8),
  ],
)
def test_group_normalization(name, kwargs, norm, groups):
  model = registry.make('models', name, num_outputs=3, **kwargs)
  params = model.init(keys.root(0), _images())
  node = params
  for part in norm:
    node = node[part]
  channels = node['scale'].size
  rng = np.random.default_rng(1)
  x = rng.normal(2, 3, size=(2, 5, 5, channels)).astype(np.float32)
  layer = _layers.Norm('group')
  scale, bias = rng.normal(size=(2, channels)).astype(np.float32)
  found = layer.apply(
    {'params': {'group': {'scale': scale, 'bias': bias}}}, x, _layers.Context()
  )
  expected = _group_norm(x, groups, scale, bias)
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_nan_in_padding_leaves_no_trace_in_batch_statistics():
  layer = _layers.BatchNorm()
  x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
  weight = jnp.array([1.0, 1, 0, 0])

  def run(x):
    variables = layer.init(keys.root(0), x, _layers.Context())

    def loss(weights):
      y, moved = layer.apply(
        {**variables, 'params': weights},
        x,
        _layers.Context(train=True, weight=weight),
        mutable=['stats'],
      )
      return jnp.sum(y[:2] ** 3), (y[:2], moved)

    return jax.jit(jax.grad(loss, has_aux=True))(variables['params'])

  clean, poisoned = run(x), run(np.concatenate([x[:2], x[2:] * np.nan]))
  assert trees.all_finite(clean)
  assert trees.bit_diff(clean, poisoned).equal


@pytest.mark.parametrize('name', ['mlp', 'cnn', 'vit'])
@pytest.mark.parametrize('rate', [1.0, -0.1, float('nan')])
def test_a_dropout_is_a_fraction(name, rate):
  module = registry.get('models', name)
  kwargs = {**module.TINY, 'dropout': rate}
  with pytest.raises(errors.ConfigError, match='dropout'):
    registry.make('models', name, num_outputs=2, **kwargs)
