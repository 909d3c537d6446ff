"""Unlearned or retrained: against a plain loop, and what a gap allows."""

import numpy as np
import pytest
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics import retrained_game


def _margins(gap, models=100, points=12, seed=0):
  draw = np.random.default_rng(seed).normal
  return {
    'unlearned': gap + draw(size=(models, points)),
    'oracles': draw(size=(models, points)),
  }


def test_as_a_plain_loop():
  kinds = _margins(0.7, models=9, points=4)
  u, o = kinds['unlearned'], kinds['oracles']
  right = []
  for x in range(4):
    for i in range(9):
      fits = [
        scipy.stats.norm(np.mean(rest), np.std(rest, ddof=1))
        for rest in (np.delete(u[:, x], i), np.delete(o[:, x], i))
      ]
      for margin, truth in ((u[i, x], True), (o[i, x], False)):
        says = fits[0].pdf(margin) > fits[1].pdf(margin)
        right.append(says == truth)
  found = retrained_game.make()(**kinds)
  assert found.accuracy.value == pytest.approx(np.mean(right), abs=1e-12)
  assert found.per_point.mean() == pytest.approx(np.mean(right), abs=1e-12)
  assert found.models == 9


@pytest.mark.parametrize('gap', [0.0, 0.5, 1.0, 3.0])
def test_the_accuracy_is_what_the_gap_allows(gap):
  """Two unit Gaussians apart by d are told apart Phi(d / 2) of the time."""
  truth = scipy.stats.norm.cdf(gap / 2)
  metric = retrained_game.make()
  found = [metric(**_margins(gap, seed=seed)).accuracy for seed in range(40)]
  assert np.mean([f.value for f in found]) == pytest.approx(truth, abs=0.01)
  assert np.mean([f.low <= truth <= f.high for f in found]) >= 0.85
  width = np.mean([f.high - f.value for f in found]) / 1.96
  assert width < 3 * np.std([f.value for f in found])


def test_a_wider_spread_is_found_out_too():
  """Right in the mean is not enough: a shift can leave the spread wrong."""
  kinds = _margins(0.0)
  found = retrained_game.make()(**{**kinds, 'unlearned': 3 * kinds['oracles']})
  assert found.accuracy.low > 0.65


def test_no_model_is_a_shadow_of_itself():
  """A model far from all others of its kind is taken for neither by luck."""
  kinds = _margins(0.0, models=30, points=1)
  kinds['unlearned'][3] = 50.0  # nobody else is there
  alone = retrained_game.make()(**kinds).accuracy.value
  kinds['unlearned'][:, 0] = 50.0 + np.arange(30) / 100
  assert retrained_game.make()(**kinds).accuracy.value == 1.0
  assert alone < 0.75


def test_fresh_oracles_give_the_floor():
  kinds = _margins(2.0)
  fresh = _margins(0.0, seed=5)['unlearned']
  found = retrained_game.make()(**kinds, fresh=fresh)
  assert found.floor_of == 'oracles' and not found.at_floor
  assert found.floor.low <= 0.5 <= found.floor.high
  alone = retrained_game.make()(**kinds)
  assert alone.floor_of == 'gaussian'
  assert alone.floor == retrained_game.floor(100)


def test_equal_margins_are_told_apart_half_of_the_time():
  same = np.zeros((5, 3))
  found = retrained_game.make()(unlearned=same, oracles=same)
  assert found.accuracy.value == 0.5


def test_what_makes_no_game_is_refused():
  metric = retrained_game.make()
  kinds = _margins(0.0, models=5)
  with pytest.raises(errors.DataError, match=r'fresh \(4, 12\)'):
    metric(**kinds, fresh=kinds['oracles'][1:])
  with pytest.raises(errors.DataError, match='models must be at least 3'):
    metric(unlearned=np.zeros((2, 4)), oracles=np.zeros((2, 4)))
  with pytest.raises(errors.ConfigError, match='resamples'):
    retrained_game.make(resamples=1)
