"""Relearning of many models at once is that of each, and harms none."""

import jax
import numpy as np
import optax
import pytest

from unlearn_jax import (
  errors,
  keys,
  losses,
  registry,
  step,
  training,
  trees,
  types,
)
from unlearn_jax.metrics import relearn as metric
from unlearn_jax.study import relearn

STEPS, ORDERS, BATCH = 8, 2, 6
OPTIMIZER = optax.adam(0.03)
MODEL = registry.make('models', 'mlp', num_outputs=3, hidden=[5])
SETTINGS = {
  'optimizer': OPTIMIZER,
  'batch_size': BATCH,
  'steps': STEPS,
  'orders': ORDERS,
}


def _data(n=21, kind='classification', order=None):
  order = np.arange(n) if order is None else order
  rng = np.random.default_rng(0)
  x = rng.normal(size=(n, 4)).astype(np.float32)[order]
  y = {
    'classification': rng.integers(0, 3, n).astype(np.int32),
    'regression': rng.normal(size=(n, 3)).astype(np.float32),
  }[kind][order]
  return types.Dataset(
    name='noise',
    task=types.Task(kind, 3),
    ids=3 * order,
    owners=3 * order,
    labels=y,
    read=lambda at: x[at],
    input_shape=(4,),
    mean=np.zeros(()),
    std=np.ones(()),
  )


@pytest.fixture(scope='module')
def params():
  """Three models side by side."""
  x = np.zeros((1, 4), np.float32)
  return jax.vmap(lambda key: MODEL.init(key, x))(
    jax.random.split(keys.root(0), 3)
  )


def _curves(params, data=None, **settings):
  return relearn.curves(
    MODEL, params, _data() if data is None else data, **SETTINGS | settings
  )


def test_as_a_plain_loop(params):
  found = _curves(params)
  assert found.loss.shape == found.accuracy.shape == (3, ORDERS, STEPS + 1)
  data = _data()
  table, rows = training.table(data), data.all()
  one_step = jax.jit(
    step.make_step(step.supervised(MODEL, losses.cross_entropy), OPTIMIZER)
  )
  mine = jax.tree.map(lambda leaf: leaf[1], params)
  state = step.init_state(mine, OPTIMIZER)
  plan = training.plan(data.ids, epochs=2, batch_size=BATCH, seed=1)
  for i in range(STEPS + 1):
    logits = MODEL.apply(state.params, rows.x)
    assert found.loss[1, 1, i] == pytest.approx(
      float(losses.cross_entropy(logits, rows.y).mean()), rel=1e-4
    )
    assert found.accuracy[1, 1, i] == pytest.approx(
      float(losses.correct(logits, rows.y).mean()), abs=1e-6
    )
    if i < STEPS:
      batch = step.gather(table, plan[i])
      state, _ = one_step(state, batch, keys.root(0))
  assert found.loss[1, 1, -1] < found.loss[1, 1, 0]


def test_nothing_that_was_passed_changes_and_itself_is_one(params):
  data = _data()
  before = trees.digest(params), data.content_digests().tobytes()
  curves = _curves(params)
  assert (trees.digest(params), data.content_digests().tobytes()) == before
  again = _curves(params)
  np.testing.assert_array_equal(curves.loss, again.loss)
  found = metric.make()(unlearned=curves, oracles=again, original=curves)
  assert (found.per_model == 1).all()


def test_a_model_is_the_same_in_whatever_company(params):
  alone = _curves(jax.tree.map(lambda leaf: leaf[2:], params))
  np.testing.assert_allclose(
    alone.loss[0], _curves(params).loss[2], rtol=1e-5, atol=1e-6
  )


def test_orders_are_of_the_ids_and_of_the_seed(params):
  """All models see the same orders, however the data set is sorted."""
  shuffled = np.random.default_rng(3).permutation(21)
  found = _curves(params)
  again = _curves(params, _data(order=shuffled))
  np.testing.assert_allclose(again.loss, found.loss, rtol=1e-4, atol=1e-5)
  assert (found.loss[:, 0] != found.loss[:, 1]).any()
  assert (_curves(params, seed=5).loss != found.loss).any()


def test_a_regression_has_no_accuracy(params):
  found = _curves(params, _data(kind='regression'))
  assert found.accuracy is None
  assert (found.loss[..., -1] < found.loss[..., 0]).all()


def test_more_rows_than_are_looked_at_at_once(params, monkeypatch):
  monkeypatch.setattr(relearn, '_EVAL_BATCH', 8)
  found = _curves(params)
  monkeypatch.undo()
  np.testing.assert_allclose(found.loss, _curves(params).loss, rtol=1e-5)


@pytest.mark.parametrize('name', ['batch_size', 'steps', 'orders'])
def test_sizes_are_checked(params, name):
  with pytest.raises(errors.ConfigError, match=f'{name} .* got 0'):
    _curves(params, **{name: 0})
  with pytest.raises(errors.DataError, match='no rows'):
    _curves(params, _data(0))
