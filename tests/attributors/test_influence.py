import functools
import types

import jax
import numpy as np
import pytest
import scipy.special

from tests.attributors import convex
from unlearn_jax import errors, keys, registry
from unlearn_jax.attributors import _sums, _words

N, P, D, OUTPUTS = 40, 9, 6, 2


def _attribute(setting, **settings):
  return registry.make('attributors', 'influence', **settings)(setting)


@functools.cache
def _ridge(decay=0.05):
  """A Setting of least squares: floats as targets, one model, no bias."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N + P, D)).astype(np.float32)
  y = (x @ rng.normal(size=(D, OUTPUTS)) + rng.normal(size=(N + P, 1))).astype(
    np.float32
  )
  w = _solve_ridge(x[:N], y[:N], decay).astype(np.float32)
  return _words.Setting(
    lambda w, x: x @ w['w'], {'w': w[None]}, x[:N], y[:N], x[N:], y[N:], decay
  )


def _solve_ridge(x, y, decay):
  """Minimum of the mean of squared errors averaged over outputs + decay/2."""
  x = x.astype(np.float64)
  hessian = 2 / OUTPUTS * x.T @ x + len(x) * decay * np.eye(D)
  return np.linalg.solve(hessian, 2 / OUTPUTS * x.T @ y)


@pytest.mark.parametrize('forgotten', [[0], [17], [3, 8, 21, 30]])
def test_exact_for_least_squares(forgotten):
  """One Newton step on what is left is retraining, decay included."""
  setting = _ridge()
  kept = np.setdiff1d(np.arange(N), forgotten)
  again = _solve_ridge(setting.x[kept], setting.y[kept], setting.decay)
  true = setting.points @ (again - setting.params['w'][0])
  found = _attribute(setting, damping=0.0, chunk=16).shift(forgotten)
  np.testing.assert_allclose(found, true, rtol=1e-3, atol=1e-5)


def test_leave_one_out_in_closed_form():
  """Without decay: the residual over 1 - leverage, the textbook formula."""
  setting = _ridge(decay=0.0)
  x = setting.x.astype(np.float64)
  hat = x @ np.linalg.solve(x.T @ x, x.T)
  leverage = np.diag(hat)
  residual = setting.y - setting.x @ setting.params['w'][0]
  found = _attribute(setting._replace(points=setting.x), damping=0.0)
  for i in (0, 11, 39):
    expected = -hat[:, i : i + 1] * (residual[i] / (1 - leverage[i]))[None]
    np.testing.assert_allclose(found.shift([i]), expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize('size, slope', [(1, (0.95, 1.1)), (5, (0.95, 1.15))])
@pytest.mark.parametrize('classes', [2, 4])
def test_predicts_retraining(classes, size, slope):
  setting = convex.logistic(classes, k=2)
  sets = convex.forget_sets(len(setting.x), size)
  true = convex.retrained_shifts(setting, sets, classes)
  found = _attribute(setting, damping=0.0)
  assert found.of == 'logits' and found.scores is None
  got = convex.fit_line([found.shift(f) for f in sets], true)
  assert got[0] > 0.99 and slope[0] < got[1] < slope[1], got


@functools.cache
def _network(k=2):
  """A network nobody trained, with leaves [k, ...]."""
  setting = convex.logistic(4)
  model = registry.make('models', 'mlp', num_outputs=4, hidden=(5,))
  init = jax.jit(jax.vmap(lambda key: model.init(key, setting.x)))
  params = init(jax.random.split(keys.root(0), k))
  return setting._replace(apply=model.apply, params=jax.device_get(params))


def _dense(setting, j, removed, damping, decay_on):
  """The same step with the Gauss-Newton matrix written out in float64."""
  params = jax.tree.map(lambda leaf: leaf[j], setting.params)
  flat, unravel = jax.flatten_util.ravel_pytree(params)

  def logits(flat, x):
    return setting.apply(unravel(flat), x)

  jacobian_of = jax.jit(jax.jacobian(logits))
  jacobian = np.asarray(jacobian_of(flat, setting.x), np.float64)
  prob = scipy.special.softmax(
    np.asarray(jax.jit(logits)(flat, setting.x), np.float64), axis=1
  )
  bend = np.einsum('nc,cd->ncd', prob, np.eye(4)) - np.einsum(
    'nc,nd->ncd', prob, prob
  )
  used = np.ones(len(prob))
  if decay_on == 'kept':
    used[removed] = 0
  hessian = np.einsum('n,ncp,ncd,ndq->pq', used, jacobian, bend, jacobian)
  hessian += (damping + used.sum() * setting.decay) * np.eye(len(flat))
  slope = prob - np.eye(4)[setting.y]
  pull = np.einsum('ncp,nc->p', jacobian[removed], slope[removed])
  pull += len(removed) * setting.decay * np.asarray(flat)
  step = np.linalg.solve(hessian, pull)
  return np.asarray(jacobian_of(flat, setting.points)) @ step


@pytest.mark.parametrize(
  'solver, decay_on', [('cg', 'kept'), ('krylov', 'all')]
)
def test_solvers_solve_what_they_say(solver, decay_on):
  setting, removed = _network(), np.array([2, 50, 149])
  expected = np.mean(
    [_dense(setting, j, removed, 0.5, decay_on) for j in range(2)], axis=0
  )
  # As many steps as parameters, and more: the Krylov space is then everything.
  found = _attribute(setting, solver=solver, damping=0.5, steps=200, chunk=64)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(
    found.shift(removed), expected, rtol=5e-3, atol=2e-3 * scale
  )


def test_a_small_krylov_space_errs_to_large_shifts():
  """What it has not seen counts as flat; more steps see more."""
  setting, removed = _network(), np.array([2, 50, 149])
  sizes = [
    np.linalg.norm(
      _attribute(
        setting, solver='krylov', damping=5.0, steps=steps, chunk=256
      ).shift(removed)
    )
    for steps in (10, 200)
  ]
  assert sizes[0] > sizes[1]


def test_the_scale_is_no_accident_of_the_inputs():
  setting = convex.logistic(4)
  w = setting.params['head']['kernel']
  small = setting._replace(
    apply=lambda params, x: x @ params['w'], params={'w': w}, decay=0.0
  )
  large = small._replace(
    x=10 * setting.x, points=10 * setting.points, params={'w': w / 10}
  )
  a = _attribute(small, damping=0.1).shift([1, 2])
  b = _attribute(large, damping=10.0).shift([1, 2])
  np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(a).max())


def test_chunks_do_not_matter():
  setting = _network()
  a, b = (_attribute(setting, chunk=chunk).shift([5]) for chunk in (7, 1000))
  np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_statistics_are_not_parameters():
  """What a model counts, and does not train, does not move."""
  setting = _network()
  counted = setting._replace(
    apply=lambda params, x: setting.apply(params['net'], x),
    params={'net': setting.params, 'stats': {'seen': np.full((2, 3), 9.0)}},
  )
  a, b = _attribute(setting).shift([5]), _attribute(counted).shift([5])
  np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  one = jax.tree.map(lambda leaf: leaf[0], counted.params)
  sums = _sums.Sums(counted, one, None)
  assert len(sums.flat) == sum(
    leaf[0].size for leaf in jax.tree.leaves(setting.params)
  )


def test_settings_are_checked():
  with pytest.raises(errors.UnknownName, match='krylov'):
    _attribute(None, solver='lissa')
  with pytest.raises(errors.ConfigError, match='damping'):
    _attribute(None, damping=-1.0)
  nothing = types.SimpleNamespace(x=[0.0], points=[0.0], decay=0.0)
  with pytest.raises(errors.ConfigError, match='krylov'):
    _attribute(nothing, solver='krylov', damping=0.0)
  with pytest.raises(errors.UnknownPosition):
    _attribute(_network()).shift([150])
