import functools

import jax
import jax.extend
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tests.attributors import convex
from unlearn_jax import errors, keys, losses, registry
from unlearn_jax.attributors import _projection, _words

KEY = keys.stream(keys.root(3), 'test')


def _attribute(setting, **settings):
  return registry.make('attributors', 'trak', **settings)(setting)


# A network with one tanh layer, differentiated by hand below.
HIDDEN, CLASSES = 5, 3


def _network(params, x):
  return jax.numpy.tanh(x @ params['in']) @ params['out']


@functools.cache
def _setting(k=2, n=60, p=12, d=4, decay=0.0):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(n + p, d)).astype(np.float32)
  y = rng.integers(CLASSES, size=n + p).astype(np.int32)
  params = {
    'in': rng.normal(size=(k, d, HIDDEN)).astype(np.float32),
    'out': rng.normal(size=(k, HIDDEN, CLASSES)).astype(np.float32),
  }
  return _words.Setting(_network, params, x[:n], y[:n], x[n:], y[n:], decay)


def _by_hand(first, last, x, y):
  """Gradients of the margin [n, parameters], and p of the label [n]."""
  hidden = np.tanh(x @ first)
  prob = scipy.special.softmax(hidden @ last, axis=1)
  label = np.eye(CLASSES)[y]
  mine = (prob * label).sum(1)
  # m = log p_y - log(1 - p_y), and d log p_y / dz = label - prob.
  slope = (label - prob) / (1 - mine)[:, None]
  inner = (slope @ last.T) * (1 - hidden**2)
  of_first = np.einsum('ni,nj->nij', x, inner).reshape(len(x), -1)
  of_last = np.einsum('ni,nj->nij', hidden, slope).reshape(len(x), -1)
  return np.concatenate([of_first, of_last], axis=1), mine


def _reference(setting, dim, ridge, kind, seed):
  """TRAK as its paper writes it, with the whole projection at hand."""
  kernels, missing = [], []
  for j in range(len(setting.params['in'])):
    first, last = (
      setting.params[name][j].astype(np.float64) for name in ('in', 'out')
    )
    train, p = _by_hand(first, last, setting.x, setting.y)
    point, _ = _by_hand(first, last, setting.points, setting.labels)
    key = keys.stream(keys.root(seed), 'projection')
    key = keys.stream(key, 'model', j)
    matrix = _projection.matrix(key, 0, train.shape[1], dim, kind)
    train, point = (g @ np.asarray(matrix, np.float64) for g in (train, point))
    inverse = np.linalg.inv(train.T @ train + ridge * np.eye(dim))
    kernels.append(train @ inverse @ point.T)
    missing.append(1 - p)
  return np.mean(kernels, axis=0) * np.mean(missing, axis=0)[:, None]


@pytest.mark.parametrize('kind', _projection.KINDS)
def test_scores_are_those_of_plain_numpy(kind):
  setting = _setting()
  settings = dict(dim=24, ridge=0.1, projection=kind, seed=5)
  found = _attribute(setting, chunk=7, block=9, **settings)
  expected = _reference(setting, 24, 0.1, kind, 5)
  for ours, theirs in zip(found.scores.T, expected.T, strict=True):
    assert scipy.stats.spearmanr(ours, theirs).statistic > 0.999
  # Units, too, and not only ranks.
  np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('kind', _projection.KINDS)
def test_blocks_do_not_change_the_projection(kind):
  whole = _projection.matrix(KEY, 0, 50, 33, kind)
  np.testing.assert_array_equal(
    _projection.matrix(KEY, 20, 10, 33, kind), whole[20:30]
  )
  vector = np.random.default_rng(0).normal(size=50).astype(np.float32)
  for block in (7, 4096):
    found = _projection.project(vector, KEY, dim=33, kind=kind, block=block)
    np.testing.assert_allclose(found, vector @ whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kind', _projection.KINDS)
def test_projected_products_keep_their_units(kind):
  matrix = np.asarray(_projection.matrix(KEY, 0, 40, 8192, kind))
  if kind == 'rademacher':
    assert set(np.unique(matrix)) == {-np.float32(8192**-0.5), matrix.max()}
  gap = matrix @ matrix.T - np.eye(40)
  # Each entry scatters by 8192**-.5 (diagonal: sqrt(2) times, or none).
  assert np.abs(gap).max() < 6 * 8192**-0.5
  assert abs(matrix.mean()) < 5 / matrix.size**0.5 * 8192**-0.5


def test_no_matrix_of_all_parameters_is_made():
  """The largest array of the program is a block's, whatever the parameters."""
  vector = jax.numpy.ones(100_000)

  def project(vector):
    return _projection.project(
      vector, KEY, dim=64, kind='rademacher', block=500
    )

  def sizes(jaxpr):
    for equation in jaxpr.eqns:
      yield from (v.aval.size for v in equation.outvars)
      for part in jax.extend.core.jaxprs_in_params(equation.params):
        yield from sizes(part)

  assert max(sizes(jax.make_jaxpr(project)(vector).jaxpr)) == 100_000


def test_chunks_of_examples_do_not_matter():
  a, b = (
    _attribute(_setting(), dim=16, ridge=0.1, chunk=chunk) for chunk in (1, 64)
  )
  np.testing.assert_allclose(a.scores, b.scores, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('newton', [False, True])
def test_the_scale_is_no_accident_of_the_inputs(newton):
  """Inputs ten times larger, weights ten times smaller: the same model, so the
  same shifts. A normalization by entries of the inverse would give a hundred
  times more."""
  setting = convex.logistic(4)
  shrunk = setting.params['head']['kernel'] / 10
  params = {'w': setting.params['head']['kernel']}
  small = setting._replace(
    apply=lambda params, x: x @ params['w'], params=params, decay=0.0
  )
  large = small._replace(
    x=10 * setting.x, points=10 * setting.points, params={'w': shrunk}
  )
  settings = dict(dim=None, newton=newton)
  a = _attribute(small, ridge=1e-3, **settings).scores
  b = _attribute(large, ridge=1e-1, **settings).scores
  np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())


def test_leave_one_out_of_least_squares_has_these_kernels():
  """TRAK's kernel is the hat matrix of least squares on its features."""
  setting = _setting(k=1)
  found = _attribute(setting, dim=None, ridge=0.1)
  first, last = (setting.params[name][0] for name in ('in', 'out'))
  train, p = _by_hand(first, last, setting.x, setting.y)
  point, _ = _by_hand(first, last, setting.points, setting.labels)
  gram = train.T @ train + 0.1 * np.eye(train.shape[1])
  with_all = point @ np.linalg.solve(gram, train.T)
  expected = with_all.T * (1 - p)[:, None]
  np.testing.assert_allclose(found.scores, expected, rtol=1e-3, atol=1e-5)


# (size of F, options, least correlation, and the range of the slope)
@pytest.mark.parametrize(
  'size, options, correlation, slope',
  [
    (1, dict(dim=None, retained=True), 0.995, (0.95, 1.1)),
    (1, dict(dim=512, retained=True), 0.995, (0.95, 1.1)),
    (5, dict(dim=None, retained=True), 0.99, (0.95, 1.15)),
    (5, dict(dim=None), 0.99, (1.0, 1.3)),
  ],
)
def test_newton_predicts_retraining(size, options, correlation, slope):
  """Two classes, where the margin is a logit and the Newton step is whole."""
  setting = convex.logistic(2)
  sets = convex.forget_sets(len(setting.x), size)
  head = setting.params['head']
  base = setting.points @ head['kernel'][0] + head['bias'][0]

  def margins(logits):
    return np.asarray(losses.margin(logits, setting.labels))

  true = [
    margins(base + moved) - margins(base)
    for moved in convex.retrained_shifts(setting, sets, 2)
  ]
  found = _attribute(setting, newton=True, ridge=0.0, **options)
  assert found.of == 'margin'
  assert (found.scores is None) == bool(options.get('retained'))
  predicted = [found.shift(f) for f in sets]
  got = convex.fit_line(predicted, true)
  assert got[0] > correlation and slope[0] < got[1] < slope[1], got


def test_models_are_averaged():
  both = _setting(decay=0.01)
  for options in (dict(), dict(retained=True)):
    ones = [
      both._replace(params={k: v[j : j + 1] for k, v in both.params.items()})
      for j in range(2)
    ]
    chosen = np.array([4, 9])
    together, *alone = (
      _attribute(s, newton=True, dim=None, **options).shift(chosen)
      for s in (both, *ones)
    )
    expected = np.mean(alone, axis=0)
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(alone[0], alone[1])


@pytest.mark.parametrize(
  'wrong', [np.ones(60, bool), [0.5], [-1], [60], [3, 3], [[1]]]
)
@pytest.mark.parametrize('retained', [False, True])
def test_what_is_no_set_of_positions_is_refused(wrong, retained):
  found = _attribute(_setting(), dim=8, newton=True, retained=retained)
  with pytest.raises(errors.UnknownPosition):
    found.shift(wrong)


def test_settings_are_checked():
  with pytest.raises(errors.ConfigError, match='retained'):
    _attribute(None, retained=True)
  with pytest.raises(errors.ConfigError, match='ridge'):
    _attribute(None, ridge=-1.0)
  with pytest.raises(errors.ConfigError, match='too small'):
    _attribute(_setting(), dim=256, ridge=0.0)
  with pytest.raises(errors.UnknownName, match='rademacher'):
    _attribute(_setting(), projection='uniform')
  with pytest.raises(errors.ConfigError, match='dim'):
    _attribute(_setting(), dim=0)
  with pytest.raises(errors.ConfigError, match='classes'):
    _attribute(_setting()._replace(y=np.zeros((60, 3))))
