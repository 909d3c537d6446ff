"""What every attributor must do; a file in attributors/ is tested by being
there."""

import functools

import jax
import numpy as np
import pytest

from unlearn_jax import keys, registry
from unlearn_jax.attributors import _words

ATTRIBUTORS = registry.available('attributors')
N, P, CLASSES, MODELS, TRAININGS = 20, 7, 3, 2, 64


@functools.cache
def _setting():
  """Everything an attributor may ask for, tiny; outputs follow the masks."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N + P, 5)).astype(np.float32)
  y = rng.integers(CLASSES, size=N + P).astype(np.int32)
  model = registry.make('models', 'mlp', num_outputs=CLASSES, hidden=(4,))
  each = jax.vmap(lambda key: model.init(key, x))
  params = each(jax.random.split(keys.root(0), MODELS))
  masks = rng.random((TRAININGS, N)) < 0.5
  effects = rng.normal(size=(N, P * CLASSES))
  outputs = (masks @ effects).reshape(TRAININGS, P, CLASSES)
  return _words.Setting(
    model.apply,
    params,
    x[:N],
    y[:N],
    x[N:],
    y[N:],
    decay=0.01,
    masks=masks,
    outputs=outputs.astype(np.float32),
  )


@functools.cache
def _made(name):
  return registry.make('attributors', name)(_setting())


@pytest.mark.parametrize('name', ATTRIBUTORS)
def test_shapes(name):
  found = _made(name)
  assert found.of in ('logits', 'margin')
  shape = (P, CLASSES) if found.of == 'logits' else (P,)
  shift = found.shift(np.array([3, 11]))
  assert shift.shape == shape and np.isfinite(shift).all()
  assert (shift != 0).any()
  if found.scores is not None:
    assert found.scores.shape == (N, *shape)


@pytest.mark.parametrize('name', ATTRIBUTORS)
def test_forgetting_nothing_moves_nothing(name):
  assert (_made(name).shift(np.zeros(0, np.int64)) == 0).all()


@pytest.mark.parametrize('name', ATTRIBUTORS)
def test_a_set_has_no_order(name):
  found = _made(name)
  np.testing.assert_allclose(
    found.shift(np.array([3, 11, 19])),
    found.shift(np.array([19, 3, 11])),
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize('name', ATTRIBUTORS)
def test_scores_are_what_having_an_example_does(name):
  found = _made(name)
  if found.scores is None:
    pytest.skip('no scores')
  chosen = np.array([0, 5, 12])
  np.testing.assert_allclose(
    found.shift(chosen), -found.scores[chosen].sum(axis=0), rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('name', ATTRIBUTORS)
def test_the_same_call_gives_the_same_attribution(name):
  again = registry.make('attributors', name)(_setting())
  chosen = np.array([1, 2])
  assert (again.shift(chosen) == _made(name).shift(chosen)).all()
