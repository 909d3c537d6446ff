import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import errors, optimizers


def _one_update(optimizer, params, gradient):
  updates, _ = optimizer.update(gradient, optimizer.init(params), params)
  return updates


def test_sgd_adds_the_decay_to_the_gradient():
  params, gradient = {'w': jnp.array([2.0])}, {'w': jnp.array([1.0])}
  optimizer = optimizers.make('sgd', learning_rate=0.1, weight_decay=0.5)
  np.testing.assert_allclose(
    _one_update(optimizer, params, gradient)['w'], [-0.2], 1e-6
  )


def test_adamw_decays_matrices_only():
  params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
  gradient = {'kernel': jnp.zeros((2, 2)), 'bias': jnp.zeros(2)}
  optimizer = optimizers.make('adamw', learning_rate=0.1, weight_decay=0.5)
  updates = _one_update(optimizer, params, gradient)
  np.testing.assert_allclose(updates['kernel'], -0.05, 1e-6)
  np.testing.assert_allclose(updates['bias'], 0)


def test_the_gradient_norm_is_clipped():
  optimizer = optimizers.make('sgd', learning_rate=1.0, clip_norm=1.0)
  update = _one_update(
    optimizer, {'w': jnp.zeros(2)}, {'w': jnp.array([3.0, 4.0])}
  )
  np.testing.assert_allclose(update['w'], [-0.6, -0.8], 1e-5)


@pytest.mark.parametrize(
  'name, warmup, expected',
  [
    ('constant', 0.0, [1, 1, 1]),
    ('linear', 0.0, [1, 0.5, 0]),
    ('cosine', 0.0, [1, 0.5, 0]),
    ('linear', 0.5, [0, 1, 0]),
  ],
)
def test_schedules_at_start_middle_end(name, warmup, expected):
  schedule = optimizers.make_schedule(name, warmup=warmup)
  values = [schedule(jnp.float32(p)) for p in (0.0, 0.5, 1.0)]
  np.testing.assert_allclose(values, expected, atol=1e-6)


def test_wrong_names_and_values_are_refused():
  with pytest.raises(errors.UnknownName, match='adamw'):
    optimizers.make('adamm', learning_rate=1.0)
  with pytest.raises(errors.UnknownArgument, match="'momentun'.*momentum"):
    optimizers.make('sgd', learning_rate=1.0, momentun=0.9)
  with pytest.raises(errors.UnknownName, match='cosine'):
    optimizers.make_schedule('cosin')
  with pytest.raises(errors.ConfigError, match='1.5'):
    optimizers.make_schedule(warmup=1.5)


@pytest.mark.parametrize('rate', [0.0, -1.0, float('nan'), float('inf')])
def test_a_learning_rate_is_positive(rate):
  with pytest.raises(errors.ConfigError, match='learning_rate'):
    optimizers.make('adam', learning_rate=rate)


@pytest.mark.parametrize('norm', [-1.0, float('nan'), float('inf')])
def test_a_gradient_norm_to_clip_at_is_positive_or_none(norm):
  with pytest.raises(errors.ConfigError, match='clip_norm'):
    optimizers.make('sgd', learning_rate=1.0, clip_norm=norm)


@pytest.mark.parametrize('nesterov', [False, True])
def test_momentum_in_two_steps(nesterov):
  """v1 = g1, v2 = m v1 + g2; Nesterov looks one step ahead: m v + g."""
  m, rate, gradients = 0.9, 0.1, (1.0, 3.0)
  optimizer = optimizers.make(
    'sgd', learning_rate=rate, momentum=m, nesterov=nesterov
  )
  params = {'w': jnp.zeros(1)}
  state, velocity = optimizer.init(params), 0.0
  for gradient in gradients:
    updates, state = optimizer.update({'w': jnp.array([gradient])}, state)
    velocity = m * velocity + gradient
    expected = m * velocity + gradient if nesterov else velocity
    np.testing.assert_allclose(updates['w'], [-rate * expected], rtol=1e-6)
