"""Accuracies and what is made of them, against loops and hand values."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.metrics import (
  _difference,
  _panel,
  accuracy,
  gap,
  nomus,
  retention,
  tow,
)


def test_as_a_plain_loop():
  inputs = accuracy.null(3)
  logits, other, labels = (
    inputs[name] for name in ('unlearned', 'oracles', 'labels')
  )
  found = accuracy.make()(**inputs)
  for i, mine in enumerate(logits):
    right = [row.argmax() == y for row, y in zip(mine, labels, strict=True)]
    assert found.unlearned[i] == pytest.approx(100 * np.mean(right), abs=1e-12)
    for c in range(5):
      of_class = [r for r, y in zip(right, labels, strict=True) if y == c]
      assert found.per_class[i, c] == pytest.approx(
        100 * np.mean(of_class), abs=1e-12
      )
  oracle = 100 * np.mean(other.argmax(axis=2) == labels, axis=1)
  np.testing.assert_allclose(found.oracles, oracle)
  np.testing.assert_allclose(found.per_model, found.unlearned - oracle)
  assert found.value.value == pytest.approx(np.mean(found.per_model))


def test_ua_counts_what_is_wrong():
  right = accuracy.make()(**accuracy.null(0))
  wrong = accuracy.make(wrong=True)(**accuracy.null(0))
  np.testing.assert_allclose(wrong.unlearned, 100 - right.unlearned)
  np.testing.assert_allclose(wrong.per_class, 100 - right.per_class)
  assert wrong.value.value == pytest.approx(-right.value.value)


def test_without_the_forgotten_class_only_where_it_is_asked_for():
  """A model that forgot a class: the 9-way accuracy does not see it."""
  inputs = accuracy.null(0)
  forgot = inputs['unlearned'].copy()
  forgot[:, :, 2] = -50
  inputs['unlearned'] = forgot
  all_classes = accuracy.make()(**inputs)
  nine_way = accuracy.make(without=2)(**inputs)
  kept = inputs['labels'] != 2
  by_hand = 100 * np.mean(
    forgot[:, kept].argmax(axis=2) == inputs['labels'][kept], axis=1
  )
  np.testing.assert_allclose(nine_way.unlearned, by_hand)
  assert (nine_way.unlearned > all_classes.unlearned + 5).all()
  # And the forgotten class is shown in both.
  assert (all_classes.per_class[:, 2] == 0).all()
  np.testing.assert_array_equal(nine_way.per_class, all_classes.per_class)
  assert (nine_way.without, all_classes.without) == (2, None)


def test_padded_rows_count_for_nothing():
  inputs = accuracy.null(1)
  expected = accuracy.make()(**inputs)
  padded, real = dict(inputs), np.arange(107) < 100
  for name in ('unlearned', 'oracles'):
    padded[name] = np.pad(
      inputs[name], [(0, 0), (0, 7), (0, 0)], constant_values=np.nan
    )
  padded['labels'] = np.pad(inputs['labels'], (0, 7), constant_values=-1)
  for rows in (real, np.tile(real, (8, 1))):
    found = accuracy.make()(**padded, real=rows)
    np.testing.assert_allclose(found.unlearned, expected.unlearned)
    np.testing.assert_allclose(found.per_class, expected.per_class)
    assert found.value == pytest.approx(expected.value)
  with pytest.raises(errors.DataError, match='NaN'):
    accuracy.make()(**padded)


def test_each_model_may_have_examples_of_its_own():
  inputs = accuracy.null(0)
  order = np.stack(
    [np.random.default_rng(i).permutation(100) for i in range(8)]
  )
  own = {
    name: np.take_along_axis(inputs[name], order[:, :, None], axis=1)
    for name in ('unlearned', 'oracles')
  }
  found = accuracy.make()(**own, labels=inputs['labels'][order])
  np.testing.assert_allclose(
    found.per_model, accuracy.make()(**inputs).per_model
  )


def test_a_class_that_is_not_there_has_no_accuracy():
  inputs = accuracy.null(0)
  inputs['labels'] = np.minimum(inputs['labels'], 3)
  found = accuracy.make()(**inputs)
  assert np.isnan(found.per_class[:, 4]).all()
  assert np.isfinite(found.per_class[:, :4]).all()


def test_the_error_of_a_regression():
  rng = np.random.default_rng(0)
  target = rng.normal(size=(30, 2))
  mine, other = target + 0.5, target + rng.normal(size=(3, 30, 2))
  found = accuracy.make(task='regression')(
    unlearned=np.stack([mine] * 3), oracles=other, labels=target
  )
  np.testing.assert_allclose(found.unlearned, 0.5)
  np.testing.assert_allclose(
    found.oracles, np.abs(other - target).mean(axis=(1, 2))
  )
  assert found.per_class is None


def test_the_floor_is_the_scatter_of_two_models_of_one_rate():
  rng = np.random.default_rng(0)
  a, b = 100 * rng.binomial(400, 0.9, (2, 20_000)) / 400
  _, low, high = _difference.binomial_floor(400, 0.9)
  assert np.mean((low <= a - b) & (a - b <= high)) == pytest.approx(
    0.95, abs=0.01
  )


def test_what_makes_no_accuracy_is_refused():
  inputs = accuracy.null(0)
  metric = accuracy.make()
  with pytest.raises(errors.DataError, match=r'0\.\.4, got 0\.\.5'):
    metric(**(inputs | {'labels': np.arange(100) % 6}))
  with pytest.raises(errors.DataError, match=r'\(99,\)'):
    metric(**(inputs | {'labels': inputs['labels'][1:]}))
  with pytest.raises(errors.DataError, match='integers'):
    metric(**(inputs | {'labels': inputs['labels'] * 1.0}))
  with pytest.raises(errors.DataError, match='no example that counts'):
    metric(**inputs, real=np.zeros(100, bool))
  with pytest.raises(errors.DataError, match='real must be bool'):
    metric(**inputs, real=np.ones(99, bool))
  with pytest.raises(errors.DataError, match='at least 2, got 1'):
    metric(
      unlearned=inputs['unlearned'][:1],
      oracles=inputs['oracles'][:1],
      labels=inputs['labels'],
    )
  with pytest.raises(errors.ConfigError, match='without=3'):
    accuracy.make(task='regression', without=3)
  with pytest.raises(errors.UnknownName, match='ranking'):
    accuracy.make(task='ranking')


# UA, MIA, RA and TA of two models and of their oracles.
MINE = np.array([[8.0, 10, 99, 93], [4, 16, 100, 95]])
THEIRS = np.array([[5.0, 13, 100, 94], [5, 13, 100, 94]])


def test_the_gap_and_its_signed_terms_by_hand():
  found = gap.make()(unlearned=MINE, oracles=THEIRS)
  np.testing.assert_allclose(found.per_model, [2, 1.25])
  np.testing.assert_allclose(found.signed[0], [3, -3, -1, -1])
  means = {name: term.value for name, term in found.terms.items()}
  assert means == {'UA': 1.0, 'MIA': 0.0, 'RA': -0.5, 'TA': 0.0}
  # Terms that cancel in the mean of models do not cancel in the gap.
  assert found.value.value == 1.625


def test_the_floor_of_the_gap_is_the_published_one():
  """Random 10 % of CIFAR-10: .30 in the mean, .55 at P95."""
  found = gap.floor(4500, sizes=(4500, 4500, 40_500, 10_000))
  assert found.value == pytest.approx(0.30, abs=0.01)
  assert found.high == pytest.approx(0.55, abs=0.02)


def test_tow_by_hand():
  found = tow.make()(unlearned=MINE, oracles=THEIRS)
  np.testing.assert_allclose(
    found.per_model, [0.97 * 0.99 * 0.99, 0.99 * 1 * 0.99]
  )
  np.testing.assert_allclose(
    found.mia.per_model, [0.97 * 0.99 * 0.99, 0.97 * 1 * 0.99]
  )
  assert tow.floor(1000).value < 1


def test_retention_by_hand():
  found = retention.make()(unlearned=MINE, oracles=THEIRS)
  np.testing.assert_allclose(
    found.per_model, [3 / 95 + 1 / 100 + 1 / 94, 1 / 95 + 0 + 1 / 94]
  )
  assert found.retention['forget'].value == pytest.approx(94 / 95)
  gone = THEIRS.copy()
  gone[1, 0] = 100
  with pytest.raises(errors.DataError, match='oracle 1 .* forget'):
    retention.make()(unlearned=MINE, oracles=gone)


@pytest.mark.parametrize('metric', [gap, tow, retention])
def test_panels_are_in_points(metric):
  with pytest.raises(errors.DataError, match=r'0\.\.100'):
    metric.make()(unlearned=-MINE, oracles=THEIRS)
  with pytest.raises(errors.DataError, match='TA'):
    metric.make()(unlearned=MINE[:, :3], oracles=THEIRS[:, :3])


def test_scores_without_an_oracle_put_a_worse_model_above_it():
  """A model that errs on all it was to forget is not one that never saw it.

  And one that is better on the test set than retraining, because it still
  knows, has the higher NoMUS: both are far from the oracle, and win.
  """
  scatter = np.random.default_rng(0).normal(size=(2, 6, 4))
  # forget, retain, test, MIA
  oracles = np.array([[94.0, 99, 94, 54]]) + 0.1 * scatter[0]
  broken = np.array([[0.0, 99, 94, 54]]) + np.abs(0.1 * scatter[1])
  knows = np.array([[99.0, 99, 97, 51]]) + 0.1 * scatter[1]
  original = np.array([[99.0, 99, 95, 60]]) + 0.1 * scatter[1]
  metric = nomus.make()
  found = metric(unlearned=knows, oracles=oracles, original=original)
  assert 'nomus' in found.above_oracle and not found.at_floor
  found = metric(unlearned=broken, oracles=oracles, original=original)
  assert found.above_oracle == ('h_mean',)
  assert found.h_mean.value.value > 0.8
  # The gap is not deceived.
  for model in (broken, knows):
    seen = gap.make()(
      unlearned=np.abs(model - np.array([[100.0, 0, 0, 0]])),
      oracles=np.abs(oracles - np.array([[100.0, 0, 0, 0]])),
    )
    assert not seen.at_floor
    assert seen.value.value > 5 * seen.floor.value


def test_the_scores_without_an_oracle_by_hand():
  model = np.array([[40.0, 90, 80, 60], [40, 90, 80, 60]])
  original = np.array([[90.0, 95, 85, 70], [90, 95, 85, 70]])
  found = nomus.make()(unlearned=model, oracles=original, original=original)
  assert found.value.value == pytest.approx((0.8 + 1 - 0.2) / 2)
  assert found.h_mean.unlearned[0] == pytest.approx(2 * 0.9 * 0.5 / 1.4)
  assert found.aus.unlearned[0] == pytest.approx(0.95 / 1.4)


def test_sampled_panels_have_the_rates_they_are_asked_for():
  first, second = _panel.sampled(500, rates=(10.0, 20, 100, 90))
  np.testing.assert_allclose(first.mean(axis=0), [10, 20, 100, 90], atol=0.1)
  assert (first != second).any()
