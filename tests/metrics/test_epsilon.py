"""Forgetting quality against a plain loop over thresholds, and its floors."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.metrics import epsilon


def _of_rates(fpr, fnr):
  if fpr == 0 and fnr == 0:
    return np.inf
  if fpr == 0 or fnr == 0:
    return np.nan
  with np.errstate(all='ignore'):
    both = [
      np.log(1 - 1e-5 - fpr) - np.log(fnr),
      np.log(1 - 1e-5 - fnr) - np.log(fpr),
    ]
  return max(np.nanmax(both), 0)


def _plain(u, o, thresholds, pairs):
  """One point: every threshold and pair is asked by itself."""
  narrow, wide = (u, o) if np.ptp(u) < np.ptp(o) else (o, u)
  up, down = (o, u) if np.median(o) > np.median(u) else (u, o)
  found = [_of_rates(np.mean(down >= t), np.mean(up < t)) for t in thresholds]
  for left, right in pairs(narrow):
    inside = [(left <= x) & (x <= right) for x in (wide, narrow)]
    found.append(_of_rates(np.mean(inside[0]), np.mean(~inside[1])))
  found = [x for x in found if not np.isnan(x)]
  return min(max(found), 50) if found else np.nan


def _official(u, o):
  """Every threshold and pair of the grid, against every margin."""
  narrow, wide = (u, o) if np.ptp(u) < np.ptp(o) else (o, u)
  up, down = (o, u) if np.median(o) > np.median(u) else (u, o)
  side = np.linspace(-2, 2, 400)
  right = np.repeat(narrow.max() + side, 400)[:, None]
  left = right - np.ptp(narrow) + np.tile(side, 400)[:, None]
  low, high = min(u.min(), o.min()), max(u.max(), o.max())
  one = np.linspace(low, high, int(np.ceil(100 * (high - low))))[:, None]
  inside = [(left <= x) & (x <= right) for x in (wide, narrow)]
  fpr = np.concatenate([inside[0].mean(axis=1), (down >= one).mean(axis=1)])
  fnr = np.concatenate([1 - inside[1].mean(axis=1), (up < one).mean(axis=1)])
  kept = (fpr > 0) & (fnr > 1e-9)
  rates = zip(fpr[kept], fnr[kept], strict=True)
  return max(_of_rates(*pair) for pair in set(rates))


def _all_pairs(u, o):
  """Thresholds between neighbors and on them; narrow ends 2 units around."""
  margins = np.unique(np.concatenate([u, o]))
  cuts = [margins, (margins[1:] + margins[:-1]) / 2]
  cuts = np.concatenate([*cuts, [margins[0] - 1, margins[-1] + 1]])

  def pairs(narrow):
    for right in cuts:
      for left in cuts:
        if (
          abs(right - narrow.max()) <= 2
          and abs(right - left - np.ptp(narrow)) <= 2
        ):
          yield left, right

  return cuts, pairs


def _samples(models=20, points=6, seed=0):
  rng = np.random.default_rng(seed)
  u = rng.normal(
    np.linspace(0, 2, points), np.linspace(0.5, 2, points), (models, points)
  )
  return u.astype(np.float32), rng.normal(size=u.shape).astype(np.float32)


@pytest.mark.parametrize('seed', range(3))
def test_exact_as_every_threshold_by_itself(seed):
  """Ends of narrow samples are well within 2 units: nothing hangs on them."""
  u, o = (x / 4 for x in _samples(models=12, seed=seed))
  expected = [
    _plain(a, b, *_all_pairs(a, b)) for a, b in zip(u.T, o.T, strict=True)
  ]
  found = epsilon.make().per_point(u, o)
  np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('swapped', (False, True))
def test_exact_where_two_thresholds_reach_next_to_nothing(swapped):
  """2 units take at most the smallest and the largest of the narrow ones."""
  rng = np.random.default_rng(0)
  grid = np.arange(-90.0, 91, 9)
  narrow = np.stack([grid[i : i + 10] for i in range(6)], axis=1)
  between = grid[1:-2] + 4.5
  wide = [
    [grid[0] + 4.5, *rng.choice(between, 8, False), grid[-1] - 4.5]
    for _ in range(6)
  ]
  wide = np.array(wide).T

  def pairs(narrow):
    for left in narrow.min() + np.array([-1, 1]):
      for right in narrow.max() + np.array([-1, 1]):
        yield left, right

  u, o = (wide, narrow) if swapped else (narrow, wide)
  expected = [
    _plain(a, b, np.concatenate([a, b]), pairs)
    for a, b in zip(u.T, o.T, strict=True)
  ]
  found = epsilon.make().per_point(u, o)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_official_rule_is_its_grid():
  u, o = _samples()
  o *= 4  # so that one threshold is never the best
  found = epsilon.make(rule='official').per_point(u, o)
  pairs = zip(u.T.astype(float), o.T.astype(float), strict=True)
  np.testing.assert_allclose(
    found, [_official(*pair) for pair in pairs], atol=1e-6
  )
  finest = epsilon.make().per_point(u, o)
  assert (found <= finest + 1e-4).all()
  assert np.mean(np.abs(found - finest) < 1e-4) >= 0.8


def test_a_much_narrower_ensemble_is_told_apart():
  """Though one of the oracles is amid it, so no threshold is perfect."""
  u, o = _samples()
  u, o[0] = np.broadcast_to(np.linspace(-1e-3, 1e-3, 20)[:, None], u.shape), 0
  for rule in epsilon.RULES:
    assert (epsilon.make(rule=rule).per_point(u, o) == epsilon.CAP).all()


@pytest.mark.parametrize('rule', epsilon.RULES)
def test_what_is_told_apart_is_at_the_cap(rule):
  per_point = epsilon.make(rule=rule).per_point
  u, o = _samples()
  for unlearned in (u + 50, u - 50):
    assert (per_point(unlearned, o) == epsilon.CAP).all()


def test_what_is_told_apart_scores_nothing():
  u, o = _samples()
  found = epsilon.make()(unlearned=u + 50, oracles=o)
  assert found.value.value == found.relative == 0 and not found.at_floor


def _with_a_constant(point):
  u, o = _samples()
  u[:, point] = o[:, point] = 1.0
  return u, o


@pytest.mark.parametrize('rule', epsilon.RULES)
def test_a_point_without_thresholds_is_no_number(rule):
  """One rate is 0 at each of them, which says nothing: not that epsilon is 0."""
  found = epsilon.make(rule=rule).per_point(*_with_a_constant(2))
  assert np.isnan(found).tolist() == [i == 2 for i in range(6)]


def test_a_point_without_thresholds_is_counted_and_left_out():
  u, o = _with_a_constant(2)
  found = epsilon.make()(unlearned=u, oracles=o)
  assert found.undefined == 1
  scores = epsilon._scores(np.delete(found.epsilons, 2), len(u))
  assert found.value.value == scores.mean()
  with pytest.raises(errors.DataError, match='every threshold'):
    epsilon.make()(unlearned=u[:, [2]], oracles=o[:, [2]])


def test_the_score_of_an_epsilon_halves_every_half():
  found = epsilon._scores(np.array([0, 0.49, 0.5, 2.3, 6.99, 7, 50]), 512)
  assert found.tolist() == [1, 1, 0.5, 2**-4, 2**-13, 0, 0]
  # ceil(log(63)) = 5 of 64 models.
  assert epsilon._scores(np.array([4.99, 5.0]), 64).tolist() == [2**-9, 0]


@pytest.mark.parametrize('models', (64, 128))
def test_the_published_floors(models):
  """Equal Gaussians score .18 to .22, whatever N is."""
  assert epsilon.floor(models).value == pytest.approx(0.185, abs=0.02)


def test_the_floor_of_oracles_and_the_final_score():
  u, o = _samples(models=40)
  fresh = np.random.default_rng(9).normal(size=o.shape)
  found = epsilon.make()(
    unlearned=u,
    oracles=o,
    fresh=fresh,
    unlearned_accuracy=epsilon.Accuracy(0.9, 0.6),
    oracle_accuracy=epsilon.Accuracy(1.0, 0.8),
  )
  again = epsilon.make()(unlearned=fresh, oracles=o)
  assert found.floor == again.quality and found.floor_of == 'oracles'
  assert found.relative == found.quality.value / found.floor.value
  assert found.final == pytest.approx(found.quality.value * 0.9 * 0.75)
  assert again.final is None
  with pytest.raises(errors.DataError, match='accuracy of both'):
    epsilon.make()(
      unlearned=u, oracles=o, oracle_accuracy=epsilon.Accuracy(1, 1)
    )
  with pytest.raises(errors.DataError, match=r'in \[0, 1\]'):
    epsilon.make()(
      unlearned=u,
      oracles=o,
      oracle_accuracy=epsilon.Accuracy(100, 80),
      unlearned_accuracy=epsilon.Accuracy(90, 80),
    )


def test_the_interval_is_that_of_repeated_ensembles():
  found = [
    epsilon.make()(**epsilon.null(seed, points=30)).quality
    for seed in range(25)
  ]
  center = np.mean([one.value for one in found])
  assert np.mean([one.low <= center <= one.high for one in found]) >= 0.85
  width = np.mean([one.high - one.value for one in found]) / 1.96
  assert width < 2 * np.std([one.value for one in found])
