"""Datamodels of rows on their own outputs, against worlds that are planted."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.attributors import _own


def _planted(models=600, n=8, noise=0.0, seed=0):
  """Masks, outputs, and what makes them: (level, weights) without and with."""
  rng = np.random.default_rng(seed)
  masks = rng.random((models, n)) < np.resize([0.5, 0.75], (models, 1))
  level, weights = rng.normal(size=(2, n)), rng.normal(size=(2, n, n))
  weights[:, np.arange(n), np.arange(n)] = 0
  both = level[:, None] + np.einsum('mj,sji->smi', masks, weights)
  outputs = np.where(masks, both[1], both[0])
  outputs = outputs + noise * ~masks * rng.normal(size=outputs.shape)
  return masks, outputs, level, weights


def _truth(level, weights, forget):
  """Outputs after training on all but `forget`, minus those of all."""
  n = level.shape[1]
  kept = np.ones(n)
  kept[forget] = 0
  whole = level[1] + weights[1].sum(0)
  after = np.where(kept, level[1] + kept @ weights[1], 0)
  return np.where(kept, after, level[0] + kept @ weights[0]) - whole


@pytest.mark.parametrize('forget', [[3], [0, 2, 7]])
def test_an_example_that_goes_changes_what_others_mean_to_it(forget):
  masks, outputs, level, weights = _planted()
  # Whatever the common datamodel says, little penalty finds the two.
  own = _own.fit(masks, outputs, np.ones((8, 8)), 1e-3)
  truth = _truth(level, weights, forget)
  np.testing.assert_allclose(own.shift(forget), truth, atol=2e-3)
  np.testing.assert_allclose(own.absent, weights[0], atol=2e-3)
  np.testing.assert_allclose(own.present, weights[1], atol=2e-3)


def test_much_penalty_leaves_the_common_datamodel():
  masks, outputs, _, _ = _planted()
  common = np.random.default_rng(1).normal(size=(8, 8))
  own = _own.fit(masks, outputs, common, 1e9)
  others = common * (1 - np.eye(8))
  np.testing.assert_allclose(own.present, others, atol=1e-4)
  np.testing.assert_allclose(own.absent, others, atol=1e-4)


def test_the_spread_is_what_masks_do_not_explain_without_the_example():
  masks, outputs, _, _ = _planted(models=4000, noise=0.7)
  own = _own.fit(masks, outputs, np.zeros((8, 8)), 1e-3)
  np.testing.assert_allclose(own.spread, 0.7, rtol=0.08)
  silent = _own.fit(*_planted()[:2], np.zeros((8, 8)), 1e-3)
  assert (silent.spread < 0.01).all()


def test_what_says_nothing_is_refused():
  masks, outputs, _, _ = _planted()
  with pytest.raises(errors.DataError, match=r'weights \[n, n\]'):
    _own.fit(masks, outputs, np.zeros((8, 3)), 1.0)
  masks[:, 5] = True
  with pytest.raises(errors.DataError, match=r'too few at \[5\]'):
    _own.fit(masks, outputs, np.zeros((8, 8)), 1.0)
