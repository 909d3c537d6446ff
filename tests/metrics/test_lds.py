"""LDS against SciPy, its interval against repeated experiments."""

import warnings

import numpy as np
import pytest
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics import lds


def _related(rho=0.7, masks=60, targets=40, seed=0):
  rng = np.random.default_rng(seed)
  true = rng.normal(size=(masks, targets))
  other = rng.normal(size=true.shape)
  return rho * true + np.sqrt(1 - rho**2) * other, true


@pytest.mark.parametrize('levels', [None, 20, 3])
def test_as_scipy_with_and_without_ties(levels):
  predictions, true = _related(masks=57)
  if levels:
    predictions, true = (np.round(x * levels / 4) for x in (predictions, true))
  expected = [
    scipy.stats.spearmanr(x, y).statistic
    for x, y in zip(predictions.T, true.T, strict=True)
  ]
  found = lds.make()(predictions=predictions, margins=true)
  np.testing.assert_allclose(found.per_target, expected, rtol=0, atol=1e-12)
  assert found.lds.value == pytest.approx(np.mean(expected), abs=1e-12)


def test_seeds_are_averaged_and_stated():
  predictions, true = _related()
  noisy = true + np.random.default_rng(1).normal(size=(4, *true.shape))
  found = lds.make()(predictions=predictions, margins=noisy)
  assert (found.masks, found.seeds, found.targets) == (60, 4, 40)
  mean = lds.make()(predictions=predictions, margins=noisy.mean(axis=0))
  assert mean.seeds == 1
  assert mean.lds == found.lds
  one = lds.make()(predictions=predictions, margins=noisy[:1])
  assert one.lds.value < found.lds.value - 0.1


def test_only_ranks_count_and_sides_do_not():
  predictions, true = _related()
  found = lds.make()(predictions=predictions, margins=true)
  other = lds.make()(predictions=np.exp(predictions), margins=7 * true - 3)
  np.testing.assert_array_equal(other.per_target, found.per_target)
  minus = lds.make()(predictions=-predictions, margins=true)
  np.testing.assert_allclose(minus.per_target, -found.per_target, atol=1e-12)
  perfect = lds.make()(predictions=true, margins=true)
  assert perfect.lds == pytest.approx((1, 1, 1))


def test_constant_margins_are_left_out_and_constant_predictions_score_zero():
  predictions, true = _related(targets=4)
  alone = lds.make()(predictions=predictions, margins=true).per_target
  # .1 has no exact mean: a constant column must not show a rounding error.
  true[:, 0], predictions[:, 1] = 0.1, 0.1
  predictions[:, 0] = 0.1
  found = lds.make()(predictions=predictions, margins=true)
  assert np.isnan(found.per_target[0]) and found.per_target[1] == 0
  assert (found.per_target[2:] == alone[2:]).all()
  assert found.lds.value == pytest.approx((0 + alone[2] + alone[3]) / 3)
  assert (found.targets, found.left_out) == (3, 1)
  with pytest.raises(errors.DataError, match='every target are constant'):
    lds.make()(predictions=predictions, margins=true * 0)


def test_ranks_of_repeated_masks_as_if_they_stood_there():
  rng = np.random.default_rng(0)
  values = rng.integers(0, 6, (15, 9)).astype(float)
  other = rng.integers(0, 6, (15, 9)).astype(float)
  drawn = rng.integers(15, size=15)
  times = np.bincount(drawn, minlength=15)
  ranks = [
    lds._ranks_when_repeated(lds._dense_ranks(x), times)
    for x in (values, other)
  ]
  for found, x in zip(ranks, (values, other), strict=True):
    expected = scipy.stats.rankdata(x[drawn], axis=0)
    np.testing.assert_array_equal(found[drawn], expected)
  np.testing.assert_allclose(
    lds._correlation(*ranks, times),
    lds.spearman(values[drawn], other[drawn]),
    atol=1e-12,
  )


def test_the_interval_covers_repeated_experiments():
  found = [
    lds.make()(predictions=p, margins=t).lds
    for seed in range(40)
    for p, t in [_related(targets=15, seed=seed)]
  ]
  center = np.mean([one.value for one in found])
  assert np.mean([one.low <= center <= one.high for one in found]) >= 0.9
  width = np.mean([one.high - one.value for one in found]) / 1.96
  assert width < 1.5 * np.std([one.value for one in found])


def test_the_floor_holds_predictions_that_know_nothing():
  """Even where all targets move together."""
  rng = np.random.default_rng(0)
  scores = []
  for _ in range(300):
    true, predictions = rng.normal(size=(2, 30, 1))
    together = true + 0.01 * rng.normal(size=(30, 8))
    same = predictions + 0.01 * rng.normal(size=(30, 8))
    scores.append(lds.spearman(same, together).mean())
  _, low, high = lds.floor(30)
  held = np.mean([low <= score <= high for score in scores])
  assert 0.92 <= held <= 0.98


def test_few_masks_raise_no_warning():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    found = lds.make()(
      predictions=np.array([[1.0], [2], [3]]), margins=np.array([[1], [5], [4]])
    )
  assert found.lds.value == pytest.approx(0.5)


def test_what_makes_no_score_is_refused():
  predictions, true = _related()
  with pytest.raises(errors.DataError, match=r'\(60, 39\).*\(60, 40\)'):
    lds.make()(predictions=predictions[:, 1:], margins=true)
  with pytest.raises(errors.DataError, match='masks must be at least 3'):
    lds.make()(predictions=predictions[:2], margins=true[:2])
  with pytest.raises(errors.DataError, match='inf'):
    lds.make()(predictions=predictions, margins=np.where(true > 2, np.inf, 0))
