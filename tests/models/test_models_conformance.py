"""What every model must do; a new file in models/ is tested by being there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import errors, keys, optimizers, registry, training, trees

MODELS = registry.available('models')


@functools.cache
def _made(name, num_outputs=10):
  module = registry.get('models', name)
  assert isinstance(getattr(module, 'TINY', None), dict), (
    f'models/{name}.py needs TINY, its smallest arguments for tests'
  )
  model = registry.make('models', name, num_outputs=num_outputs, **module.TINY)
  x = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)
  return model, model.init(keys.root(0), x), x, jax.jit(model.forward)


@pytest.mark.parametrize('name', MODELS)
def test_shapes_and_types(name):
  model, params, x, forward = _made(name)
  out = forward(params, x)
  assert out.logits.shape == (6, 10) and out.logits.dtype == np.float32
  assert out.features.shape[0] == 6 and out.features.ndim == 2
  assert out.stats is None
  assert trees.all_finite(out.logits)
  jitted = jax.jit(model.apply)(params, x)
  assert (jitted == out.logits).all()


@pytest.mark.parametrize('name', MODELS)
def test_same_key_same_digest_whatever_the_batch(name):
  model, params, x, _ = _made(name)
  again = model.init(keys.root(0), x[:1] + 5)
  assert trees.bit_diff(params, again).equal
  if name != 'linear':  # which starts at zero
    other = model.init(keys.root(1), x)
    assert trees.digest(other) != trees.digest(params)


@pytest.mark.parametrize('name', MODELS)
def test_parameters_are_nested_dicts_of_arrays(name):
  _, params, _, _ = _made(name)
  flat = trees.flatten(params)
  assert trees.bit_diff(trees.unflatten(flat), params).equal
  assert all(isinstance(leaf, jax.Array) for leaf in flat.values())


@pytest.mark.parametrize('name', MODELS)
def test_pure(name):
  _, params, x, forward = _made(name)
  before = trees.digest(params)
  first, second = forward(params, x), forward(params, x)
  assert trees.bit_diff(first, second).equal
  assert trees.digest(params) == before


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('neighbor', [0.0, 100.0, np.nan])
def test_no_example_sees_another(name, neighbor):
  _, params, x, forward = _made(name)
  changed = np.copy(x)
  changed[1:] = neighbor
  kept = forward(params, x).logits[0]
  assert (forward(params, changed).logits[0] == kept).all()


@pytest.mark.parametrize('name', MODELS)
def test_the_gradient_of_an_example_is_its_own(name):
  model, params, x, _ = _made(name)

  @jax.jit
  def gradient(x):
    return jax.grad(
      lambda x: jnp.sum(model.apply(params, x, train=True)[0] ** 2)
    )(x)

  found = gradient(x)
  assert (found[1:] == 0).all()
  if name != 'linear':  # zero at its start
    assert (found[0] != 0).any()


@pytest.mark.parametrize('name', MODELS)
def test_trains_on_digits(name):
  """Above what its loss can be by chance, within a few passes."""
  model, *_ = _made(name)
  data = registry.make('data', 'digits', split='train')
  data = data.subset(np.arange(512))
  before = model.init(keys.stream(keys.root(0), 'init'), data.take([0]).x)
  for last in training.fit(
    model,
    data,
    optimizer=optimizers.make('adam', learning_rate=0.01),
    batch_size=32,
    epochs=12,
    seed=0,
  ):
    pass
  after = last.state.params
  assert training.evaluate(model, after, data)['accuracy'] > 0.6
  frozen = trees.partition(before, lambda p: not model.trainable(p))[0]
  still = trees.partition(after, lambda p: not model.trainable(p))[0]
  assert trees.bit_diff(frozen, still).equal
  assert training.count_trainable(model, after) > 0


@pytest.mark.parametrize('name', MODELS)
def test_an_unknown_keyword_is_refused_by_name(name):
  with pytest.raises(errors.UnknownArgument, match='no_such_field'):
    registry.make('models', name, num_outputs=2, no_such_field=1)
