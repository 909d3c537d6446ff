"""The logistic attack: its solver against scikit-learn, and what it finds."""

import numpy as np
import pytest
from sklearn import linear_model

from unlearn_jax import errors
from unlearn_jax.metrics import mia_logistic


@pytest.mark.parametrize(
  ('scale', 'gap'), [(1, 0.3), (1e-3, 0.3), (50, 0.5), (1, 30), (0, 0)]
)
def test_as_scikit_learn(scale, gap):
  rng = np.random.default_rng(0)
  values = scale * (
    rng.exponential(size=(4, 2, 90)) + gap * np.array([[0], [1]])
  )
  slopes, middles = mia_logistic._fit(values)
  for value, slope, middle in zip(values, slopes, middles, strict=True):
    model = linear_model.LogisticRegression(tol=1e-10, max_iter=10_000)
    model.fit(value.reshape(-1, 1), np.repeat([1, 0], 90))
    assert slope == pytest.approx(model.coef_.item(), rel=1e-3, abs=1e-5)
    assert middle == pytest.approx(model.intercept_.item(), rel=1e-3, abs=1e-4)


def _lower(by, seed=0):
  """Losses of what was to be forgotten are lower by that factor."""
  inputs = mia_logistic.null(seed, forget=300, unseen=400)
  mine = inputs['unlearned']
  return inputs | {'unlearned': mine._replace(forget=mine.forget * by)}


def test_what_was_not_forgotten_is_found():
  found = mia_logistic.make()(**_lower(0.05))
  assert found.accuracy.low > 75 and not found.at_floor
  assert found.floor.low < 50 < found.floor.high
  assert found.indiscernibility.value == pytest.approx(
    2 - found.accuracy.value / 50
  )
  np.testing.assert_allclose(found.difference.unlearned, found.per_model)
  assert mia_logistic.make()(**_lower(1.0)).at_floor


def test_what_is_forgotten_too_well_is_found_as_well():
  found = mia_logistic.make()(**_lower(20.0))
  assert found.accuracy.low > 75 and found.indiscernibility.high < 0.5


def test_each_split_tests_what_it_did_not_learn():
  """On 20 losses that mean nothing it would be right 58 % of what it learned.

  It is below 50 where kinds are held out in equal parts: what is high among
  the tested is low among the learned.
  """
  rng = np.random.default_rng(0)
  one = mia_logistic.Losses(*rng.normal(size=(2, 60, 20)))
  found = mia_logistic.make()(unlearned=one, oracles=one)
  assert 44 < found.accuracy.value < 50.5


def test_what_makes_no_attack_is_refused():
  inputs = mia_logistic.null(0)
  with pytest.raises(errors.DataError, match='as many models'):
    fewer = mia_logistic.Losses(*(x[1:] for x in inputs['unlearned']))
    mia_logistic.make()(**(inputs | {'unlearned': fewer}))
  with pytest.raises(errors.DataError, match='at least 2'):
    mia_logistic.make()(**mia_logistic.null(0, forget=1))
  with pytest.raises(errors.ConfigError, match='splits'):
    mia_logistic.make(splits=0)
