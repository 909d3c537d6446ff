"""What unlearning takes, and the historic distance of parameters."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.metrics import efficiency, verification
from unlearn_jax.metrics.efficiency import Runs


def _runs(seconds, gradients, **once):
  return Runs(np.array(seconds, float), np.array(gradients), **once)


RETRAINING = _runs([[10, 11, 90], [10, 12, 14], [9, 8, 10]], [1000] * 3)


def test_efficiency_by_hand():
  """One disturbed run of three moves nothing."""
  mine = _runs(
    [[1, 1, 70], [3, 3, 3], [0.9, 0.9, 0.9]],
    [10, 20, 30],
    compile_seconds=40,
    prepare_seconds=5,
  )
  found = efficiency.make()(unlearned=mine, oracles=RETRAINING)
  assert found.value.value == pytest.approx(4.9 / 32)
  assert found.floor.value == pytest.approx(1)
  assert found.seconds.value == pytest.approx(4.9 / 3)
  assert found.oracle_seconds.value == pytest.approx(32 / 3)
  assert found.gradients.value == pytest.approx(0.02)
  assert (found.compile_seconds, found.prepare_seconds) == (40, 5)
  assert not found.at_floor


def test_compiling_never_reaches_the_value():
  slow = RETRAINING._replace(compile_seconds=1e6, prepare_seconds=1e6)
  found = efficiency.make()(unlearned=slow, oracles=slow)
  assert found.value == found.floor and found.at_floor


def test_slower_than_retraining_is_no_gain():
  slow = RETRAINING._replace(seconds=20 * RETRAINING.seconds)
  assert efficiency.make()(unlearned=slow, oracles=RETRAINING).at_floor


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'seconds': RETRAINING.seconds[:, :2]}, r'\(3, 2\)'),
    ({'seconds': 0 * RETRAINING.seconds}, 'more than 0'),
    ({'gradients': np.array([1.0, 2, 3])}, 'counts of the 3 models'),
    ({'gradients': np.array([1, 2])}, r'\(2,\)'),
    ({'compile_seconds': np.nan}, 'nan'),
  ],
)
def test_records_that_are_none_are_refused(change, message):
  with pytest.raises(errors.DataError, match=message):
    efficiency.make()(
      unlearned=RETRAINING._replace(**change), oracles=RETRAINING
    )


def test_two_runs_are_too_few():
  short = RETRAINING._replace(seconds=RETRAINING.seconds[:, :2])
  with pytest.raises(errors.DataError, match='repeats must be at least 3'):
    efficiency.make()(unlearned=short, oracles=short)


def _params(seed, models=4, stats=0.0):
  draw = np.random.default_rng(seed).normal
  return {
    'layer': {'kernel': draw(size=(models, 3, 2)), 'bias': draw(size=models)},
    'stats': {'mean': np.full((models, 3), stats)},
  }


def test_verification_as_a_plain_loop():
  mine, theirs = _params(0, stats=1e6), _params(1)
  found = verification.make()(unlearned=mine, oracles=theirs)

  def flat(params, i):
    layer = params['layer']
    return np.append(layer['kernel'][i].ravel(), layer['bias'][i])

  between = np.mean(
    [
      np.linalg.norm(flat(theirs, i) - flat(theirs, j))
      for i in range(4)
      for j in range(4)
      if i != j
    ]
  )
  expected = [np.linalg.norm(flat(mine, i) - flat(theirs, i)) for i in range(4)]
  assert found.between_oracles == pytest.approx(between)
  np.testing.assert_allclose(found.per_model, np.array(expected) / between)
  assert found.floor.value == pytest.approx(1)


def test_parameters_of_another_net_are_refused():
  other = _params(1)
  other['layer']['kernel'] = other['layer']['kernel'][:, :2]
  with pytest.raises(errors.DataError, match='same leaves'):
    verification.make()(unlearned=_params(0), oracles=other)
  same = {'w': np.ones((3, 4))}
  with pytest.raises(errors.DataError, match='oracles are all the same'):
    verification.make()(unlearned={'w': np.zeros((3, 4))}, oracles=same)
