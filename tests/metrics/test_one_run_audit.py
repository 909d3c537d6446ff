"""The audit against the binomial tail and known mechanisms."""

import numpy as np
import pytest
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics import one_run_audit


def test_the_bound_is_where_the_tail_is_five_percent():
  for right, guesses in ((80, 100), (100, 100), (530, 1000)):
    epsilon = one_run_audit.bound(right, guesses)
    rate = 1 / (1 + np.exp(-epsilon))
    tail = scipy.stats.binomtest(right, guesses, rate, 'greater').pvalue
    assert tail == pytest.approx(0.05, rel=1e-6)
  # By hand: all r right, rate^r = .05.
  rate = 0.05**0.01
  assert one_run_audit.bound(100, 100) == pytest.approx(
    np.log(rate / (1 - rate)), abs=1e-9
  )
  assert one_run_audit.bound(55, 100) == one_run_audit.bound(0, 0) == 0


def test_delta_is_the_worst_of_the_theorem():
  law = scipy.stats.binom(20, 1 / (1 + np.exp(-0.3)))
  worst = max(
    sum(law.pmf(15 - k) for k in range(1, i + 1)) / i for i in range(1, 16)
  )
  expected = law.sf(14) + 2 * 200 * 1e-4 * worst
  found = one_run_audit.chance(15, 20, 0.3, canaries=200, delta=1e-4)
  assert found == pytest.approx(expected, rel=1e-9)
  loose = one_run_audit.bound(90, 100, canaries=1000, delta=1e-4)
  assert 0 < loose < one_run_audit.bound(90, 100)
  assert one_run_audit.chance(1, 2, canaries=10**6, delta=0.5) == 1


def _randomized(epsilon, seed, models=3, canaries=2000):
  """Scores that tell each coin with randomized response, and no more."""
  rng = np.random.default_rng(seed)
  included = rng.random((models, canaries)) < 0.5
  told = rng.random(included.shape) < 1 / (1 + np.exp(-epsilon))
  scores = (included == told) + rng.uniform(0, 0.1, included.shape)
  return {'scores': scores, 'included': included}


@pytest.mark.parametrize('epsilon', (0.0, 1.0, 2.0))
def test_the_bound_holds_and_is_near(epsilon):
  audit = one_run_audit.make()
  found = [audit(**_randomized(epsilon, seed)) for seed in range(40)]
  bounds = np.array([one.value.value for one in found])
  assert np.mean(bounds > epsilon) <= 0.125  # 5 % by the theorem, of 40
  assert bounds.min() >= max(0, epsilon - 0.35)
  one = found[0]
  assert one.value.high == np.inf and one.guesses == 3000
  assert one.accuracy == one.right / 3000
  assert one.at_floor == (epsilon == 0)
  assert (one.p_value < 0.05) == (one.value.value > 0)
  # Less is known of each model alone.
  assert (one.per_model <= one.value.value + 0.3).all()


def test_guesses_are_the_highest_and_the_lowest():
  scores = np.arange(10.0)[None]
  included = scores > 4.5
  found = one_run_audit.make(share=0.4)(scores=scores, included=included)
  assert (found.guesses, found.right) == (4, 4)
  found = one_run_audit.make(share=1)(scores=scores, included=included)
  assert (found.guesses, found.right) == (10, 10)
  # 3 and 6 are wrong now, and only asked when all are.
  included = np.isin(scores, [3, 5, 7, 8, 9])
  found = one_run_audit.make(share=0.4)(scores=scores, included=included)
  assert (found.guesses, found.right) == (4, 4)
  found = one_run_audit.make(share=1)(scores=scores, included=included)
  assert (found.guesses, found.right) == (10, 8)


def test_a_tie_is_no_guess():
  included = np.random.default_rng(0).random((2, 30)) < 0.5
  for share in (0.5, 1):
    found = one_run_audit.make(share=share)(
      scores=np.ones((2, 30)), included=included
    )
    assert found.guesses == 0 and found.value.value == 0 and found.p_value == 1


def test_what_makes_no_audit_is_refused():
  inputs = one_run_audit.null(0)
  with pytest.raises(errors.DataError, match='included must be bool'):
    one_run_audit.make()(**(inputs | {'included': inputs['scores']}))
  with pytest.raises(errors.ConfigError, match='share'):
    one_run_audit.make(share=0)
  with pytest.raises(errors.ConfigError, match='delta'):
    one_run_audit.make(delta=1)
