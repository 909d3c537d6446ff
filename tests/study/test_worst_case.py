"""The hardest forget set is what models fit without having it."""

import functools

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, keys, losses, step
from unlearn_jax.study import worst_case as worst


@functools.cache
def trained():
  mine = test_fleet.fleet(epochs=30)
  return test_fleet.together(mine.train(np.ones((3, 21), bool)))


def found(size=6, params=None, **settings):
  params = trained() if params is None else params
  return worst.worst_case(
    test_fleet.MODEL,
    params,
    test_fleet.data(),
    size,
    **{'batch_size': 8, 'width': 2, **settings},
  )


def plain_losses(params):
  x, y, _, _ = test_fleet.data().all()
  logits = jax.vmap(test_fleet.MODEL.apply, (0, None))(params, x)
  return np.asarray(jax.vmap(losses.cross_entropy, (0, None))(logits, y))


@pytest.mark.parametrize('rows', [1, 2, 40, 50_000])
def test_projections_are_the_nearest_weights(rows):
  rng = np.random.default_rng(rows)
  for scale in (1e-3, 1.0, 1e3):
    for total in {0, 1, rows // 10, rows}:
      point = rng.normal(0.3, scale, rows)
      weights = worst.project(point, total)
      assert weights.min() >= 0 and weights.max() <= 1
      assert abs(weights.sum() - total) < 1e-4
      # No feasible point lies on the far side of the nearest one.
      other = np.zeros(rows)
      other[rng.permutation(rows)[:total]] = 1
      assert (point - weights) @ (other - weights) <= 1e-6 * rows * scale
      np.testing.assert_allclose(
        worst.project(weights, total), weights, atol=1e-6
      )


def test_weights_a_sum_cannot_have_are_refused():
  with pytest.raises(errors.ConfigError, match='3 rows sum to 0..3, not to 4'):
    worst.project(np.zeros(3), 4)


def test_without_forgetting_the_hardest_are_the_best_fitted():
  still = plain_losses(trained()).mean(axis=0)
  for easiest, order in ((False, still), (True, -still)):
    one = found(learning_rate=1e-9, easiest=easiest)
    np.testing.assert_allclose(one.losses, [still, still], rtol=1e-4, atol=1e-6)
    assert one.positions.tolist() == sorted(np.argsort(order)[:6].tolist())
    assert abs(one.weights.sum() - 6) < 1e-4


def test_weights_follow_the_losses_after_forgetting():
  one = found(learning_rate=0.05, weight_rate=0.5, rounds=3, penalty=0.1)
  weights = np.full(21, 6 / 21)
  for left in one.losses:
    weights = worst.project(weights - 0.5 * (left + 0.2 * weights), 6)
  np.testing.assert_allclose(one.weights, weights)
  assert (np.sort(np.argsort(-weights)[:6]) == one.positions).all()
  # And what is forgotten follows the weights, each time from the start.
  first = found(learning_rate=0.05, weight_rate=0.5, rounds=1, penalty=0.1)
  key = keys.stream(keys.root(0), 'worst case', 1)
  left = forgotten(1 - first.weights, learning_rate=0.05, key=key)
  np.testing.assert_array_equal(one.losses[1], left.mean(axis=0, dtype=float))


def forgotten(seen, labels=None, learning_rate=0.02, key=None):
  """Losses [models, rows] after one forgetting."""
  x, y, ids, _ = test_fleet.data().all()
  task = test_fleet.data().task
  run = worst._forgetting(test_fleet.MODEL, task, 2, 8, 2)
  shared = (
    step.Table(x, y if labels is None else labels, keys.id_words(ids)),
    seen.astype(np.float32),
    np.float32(learning_rate),
    keys.root(0) if key is None else key,
  )
  return np.asarray(run(shared, (np.arange(3, dtype=np.uint32), trained())))


def test_forgetting_goes_without_what_has_weight_one():
  gone, seen = np.array([2, 5, 11]), np.ones(21)
  lies = test_fleet.data().labels.copy()
  lies[gone] = (lies[gone] + 1) % test_fleet.CLASSES

  def left(labels):
    return np.delete(forgotten(seen, labels), gone, axis=1)

  assert not np.array_equal(left(None), left(lies))
  seen[gone] = 0
  assert np.array_equal(left(None), left(lies))


def test_one_model_and_many():
  alone = jax.tree.map(lambda leaf: leaf[:1], trained())
  one = found(params=alone, learning_rate=1e-9)
  np.testing.assert_allclose(
    one.losses[0], plain_losses(trained())[0], rtol=1e-4, atol=1e-6
  )
  again = found(params=alone, learning_rate=1e-9)
  assert (one.losses == again.losses).all()


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'size': 21}, r'1\.\.20, got 21'),
    ({'size': 0}, 'got 0'),
    ({'rounds': 0}, 'rounds is at least 1'),
    ({'passes': 0}, 'passes is at least 1'),
  ],
)
def test_wrong_settings_are_refused(wrong, message):
  with pytest.raises(errors.ConfigError, match=message):
    found(**wrong)


def test_models_that_diverge_are_noticed():
  broken = jax.tree.map(lambda leaf: leaf * np.nan, trained())
  with pytest.raises(errors.TrainingDiverged, match='21 losses'):
    found(params=broken)
