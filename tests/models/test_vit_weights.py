import re
import zlib

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.models import vit_reference
from unlearn_jax import errors, keys, registry, trees
from unlearn_jax.models import _vit_weights

WIDTH, HEADS, DEPTH, MLP, PATCH, CHANNELS = 12, 3, 2, 20, 4, 3
PARITY = 2e-5  # float32 against float64
SIZES = {
  'width': WIDTH,
  'heads': HEADS,
  'depth': DEPTH,
  'mlp_dim': MLP,
  'patch': PATCH,
}


def _augreg_tensors(rng, tokens=5, depth=DEPTH):
  def draw(*shape):
    return rng.normal(scale=0.5, size=shape).astype(np.float32)

  t = {
    'embedding/kernel': draw(PATCH, PATCH, CHANNELS, WIDTH),
    'embedding/bias': draw(WIDTH),
    'cls': draw(1, 1, WIDTH),
    'Transformer/posembed_input/pos_embedding': draw(1, tokens, WIDTH),
    'Transformer/encoder_norm/scale': draw(WIDTH),
    'Transformer/encoder_norm/bias': draw(WIDTH),
    'head/kernel': draw(WIDTH, 1000),
    'head/bias': draw(1000),
    'pre_logits/kernel': draw(WIDTH, WIDTH),
  }
  for i in range(depth):
    at = f'Transformer/encoderblock_{i}'
    mha = f'{at}/MultiHeadDotProductAttention_1'
    for norm in ('LayerNorm_0', 'LayerNorm_2'):
      t[f'{at}/{norm}/scale'], t[f'{at}/{norm}/bias'] = draw(WIDTH), draw(WIDTH)
    for name in ('query', 'key', 'value'):
      t[f'{mha}/{name}/kernel'] = draw(WIDTH, HEADS, WIDTH // HEADS)
      t[f'{mha}/{name}/bias'] = draw(HEADS, WIDTH // HEADS)
    t[f'{mha}/out/kernel'] = draw(HEADS, WIDTH // HEADS, WIDTH)
    t[f'{mha}/out/bias'] = draw(WIDTH)
    t[f'{at}/MlpBlock_3/Dense_0/kernel'] = draw(WIDTH, MLP)
    t[f'{at}/MlpBlock_3/Dense_0/bias'] = draw(MLP)
    t[f'{at}/MlpBlock_3/Dense_1/kernel'] = draw(MLP, WIDTH)
    t[f'{at}/MlpBlock_3/Dense_1/bias'] = draw(WIDTH)
  return t


def _hugging_face_tensors(rng, tokens=5):
  def draw(*shape):
    return rng.normal(scale=0.5, size=shape).astype(np.float32)

  t = {
    'vit.embeddings.cls_token': draw(1, 1, WIDTH),
    'vit.embeddings.position_embeddings': draw(1, tokens, WIDTH),
    'vit.embeddings.patch_embeddings.projection.weight': draw(
      WIDTH, CHANNELS, PATCH, PATCH
    ),
    'vit.embeddings.patch_embeddings.projection.bias': draw(WIDTH),
    'vit.layernorm.weight': draw(WIDTH),
    'vit.layernorm.bias': draw(WIDTH),
    'classifier.weight': draw(1000, WIDTH),
    'classifier.bias': draw(1000),
  }
  for i in range(DEPTH):
    at = f'vit.encoder.layer.{i}'
    for norm in ('layernorm_before', 'layernorm_after'):
      t[f'{at}.{norm}.weight'], t[f'{at}.{norm}.bias'] = (
        draw(WIDTH),
        draw(WIDTH),
      )
    for name, rows, columns in (
      ('attention.attention.query', WIDTH, WIDTH),
      ('attention.attention.key', WIDTH, WIDTH),
      ('attention.attention.value', WIDTH, WIDTH),
      ('attention.output.dense', WIDTH, WIDTH),
      ('intermediate.dense', MLP, WIDTH),
      ('output.dense', WIDTH, MLP),
    ):
      t[f'{at}.{name}.weight'] = draw(rows, columns)
      t[f'{at}.{name}.bias'] = draw(rows)
  return t


def _image(size=8):
  rng = np.random.default_rng(1)
  return rng.normal(size=(size, size, CHANNELS)).astype(np.float32)


def _features(path, image, **fields):
  model = registry.make(
    'models', 'vit', num_outputs=4, weights=str(path), **{**SIZES, **fields}
  )
  params = model.init(keys.root(0), image[None])
  return jax.jit(model.features)(params, image[None])[0], params


def test_augreg_files_give_the_reference_features(tmp_path):
  tensors = _augreg_tensors(np.random.default_rng(0))
  path = tmp_path / 'vit.npz'
  np.savez(path, **tensors)
  features, _ = _features(path, _image())
  expected = vit_reference.augreg(tensors, _image(), HEADS, DEPTH)
  np.testing.assert_allclose(features, expected, atol=PARITY)


@pytest.mark.parametrize('prefix', ['vit.', ''])
def test_hugging_face_files_give_the_reference_features(tmp_path, prefix):
  tensors = _hugging_face_tensors(np.random.default_rng(0))
  path = tmp_path / 'model.safetensors'
  named = {prefix + k.removeprefix('vit.'): v for k, v in tensors.items()}
  safetensors.numpy.save_file(named, path)
  features, _ = _features(path, _image(), gelu='exact', norm_eps=1e-12)
  expected = vit_reference.hugging_face(tensors, _image(), HEADS, DEPTH)
  np.testing.assert_allclose(features, expected, atol=PARITY)
  # The fields matter: with the other gelu the features are others.
  other, _ = _features(path, _image(), gelu='tanh', norm_eps=1e-12)
  assert np.abs(other - features).max() > 3 * PARITY


def test_layers_are_told_apart_by_number_not_by_prefix(tmp_path):
  tensors = _augreg_tensors(np.random.default_rng(0), depth=11)
  np.savez(tmp_path / 'vit.npz', **tensors)
  model = registry.make(
    'models', 'vit', num_outputs=4, **{**SIZES, 'depth': 11}
  )
  blank = jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, leaf.dtype),
    jax.eval_shape(lambda: model.init(keys.root(0), _image()[None])),
  )
  params = _vit_weights.load(str(tmp_path / 'vit.npz'), blank)
  for i in range(11):
    name = f'Transformer/encoderblock_{i}/MlpBlock_3/Dense_0/kernel'
    assert (params[f'layer_{i}']['mlp_in']['kernel'] == tensors[name]).all()


def test_our_own_files_round_trip_bit_for_bit(tmp_path):
  model = registry.make('models', 'vit', num_outputs=4, **SIZES)
  params = model.init(keys.root(7), _image()[None])
  path = tmp_path / 'ours.safetensors'
  _vit_weights.save(path, params, {'seed': '7'})
  _, loaded = _features(path, _image())
  own = trees.partition(loaded, lambda p: not p.startswith('head/'))[0]
  assert trees.bit_diff(
    own, trees.partition(params, lambda p: not p.startswith('head/'))[0]
  ).equal
  assert not trees.bit_diff(loaded['head'], params['head']).equal


def test_positions_are_resized_for_another_image_size(tmp_path):
  tensors = _augreg_tensors(np.random.default_rng(0))
  name = 'Transformer/posembed_input/pos_embedding'
  # A grid that is linear in its place stays so when it is interpolated.
  grid = np.arange(4.0).reshape(1, 4, 1) * np.ones((1, 1, WIDTH))
  tensors[name] = np.concatenate([tensors[name][:, :1], grid], axis=1).astype(
    np.float32
  )
  np.savez(tmp_path / 'vit.npz', **tensors)
  _, params = _features(tmp_path / 'vit.npz', _image(16))
  position = np.asarray(params['position'])
  assert position.shape == (1, 17, WIDTH)
  assert (position[:, 0] == tensors[name][:, 0]).all()
  grid = position[0, 1:, 0].reshape(4, 4)
  np.testing.assert_allclose(grid[0], [0, 0.25, 0.75, 1], atol=1e-6)
  np.testing.assert_allclose(grid[:, 0], [0, 0.5, 1.5, 2], atol=1e-6)


def test_files_that_do_not_fit_are_refused_by_name(tmp_path):
  tensors = _augreg_tensors(np.random.default_rng(0))
  path = tmp_path / 'vit.npz'
  np.savez(path, **tensors)
  with pytest.raises(errors.CheckpointError, match='vit.npz.*more layers'):
    _features(path, _image(), depth=1)
  with pytest.raises(errors.CheckpointError, match='vit.npz.*layer_2'):
    _features(path, _image(), depth=3)
  with pytest.raises(errors.CheckpointError, match=r'vit.npz: .*wants'):
    _features(path, _image(), mlp_dim=24)
  with pytest.raises(errors.DataNotFound, match='nowhere.npz.*mnist'):
    _features('nowhere.npz', _image())
  np.savez(tmp_path / 'other.npz', a=np.zeros(3))
  with pytest.raises(errors.CheckpointError, match='none of the known layouts'):
    _features(tmp_path / 'other.npz', _image())
  for name in ('cut.npz', 'cut.safetensors'):
    (tmp_path / name).write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
      errors.CheckpointError, match=f'{name} (is no|cannot be read)'
    ):
      _features(tmp_path / name, _image())


def test_the_packaged_backbone_loads_and_has_the_digest_it_claims():
  model = registry.make(
    'models', 'vit', num_outputs=10, variant='micro', patch=7, weights='mnist'
  )
  params = model.init(keys.root(0), np.zeros((1, 28, 28, 1), np.float32))
  backbone = trees.partition(params, lambda p: not p.startswith('head/'))[0]
  assert trees.digest(backbone) == _vit_weights.metadata('mnist')['digest']


def test_the_packaged_backbone_names_no_place_of_its_maker():
  for value in _vit_weights.metadata('mnist').values():
    assert not re.search(r'(^|[\s=:,])[/~]', value), value


@pytest.mark.parametrize('layout', ['augreg', 'hugging face'])
def test_files_without_an_embedding_are_refused(tmp_path, layout):
  rng = np.random.default_rng(0)
  if layout == 'augreg':
    tensors, path = _augreg_tensors(rng), tmp_path / 'vit.npz'
  else:
    tensors, path = _hugging_face_tensors(rng), tmp_path / 'vit.safetensors'
  (name,) = (n for n, t in tensors.items() if t.ndim == 4)
  for change in ({}, {name: tensors[name][0]}):
    left = {n: t for n, t in tensors.items() if n != name} | change
    if layout == 'augreg':
      np.savez(path, **left)
    else:
      safetensors.numpy.save_file(left, path)
    with pytest.raises(errors.CheckpointError, match='no embedding of patches'):
      _features(path, _image())


@pytest.mark.parametrize(
  'error', [zlib.error, NotImplementedError, RuntimeError]
)
def test_archives_that_cannot_be_unpacked_are_refused(
  tmp_path, monkeypatch, error
):
  def fail(*args, **kwargs):
    raise error('damaged')

  np.savez(tmp_path / 'vit.npz', **_augreg_tensors(np.random.default_rng(0)))
  monkeypatch.setattr(np, 'load', fail)
  with pytest.raises(
    errors.CheckpointError, match='vit.npz cannot be read as .npz'
  ):
    _features(tmp_path / 'vit.npz', _image())


def test_the_other_gelu_is_told_once(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    _vit_weights.logging, 'warning', lambda form, *a: said.append(form % a)
  )
  path = tmp_path / 'model.safetensors'
  tensors = _hugging_face_tensors(np.random.default_rng(0))
  safetensors.numpy.save_file(tensors, path)
  _features(path, _image(), gelu='exact')
  assert said == []
  _features(path, _image())
  _features(path, _image())
  assert len(said) == 1 and "gelu='exact'" in said[0]


def test_shapes_alone_can_be_traced(tmp_path):
  np.savez(tmp_path / 'vit.npz', **_augreg_tensors(np.random.default_rng(0)))
  model = registry.make(
    'models', 'vit', num_outputs=4, weights=str(tmp_path / 'vit.npz'), **SIZES
  )
  shapes = jax.eval_shape(lambda: model.init(keys.root(0), _image(16)[None]))
  assert shapes['position'].shape == (1, 17, WIDTH)
