"""Steps to relearn, from curves of which everything is known."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.metrics import relearn
from unlearn_jax.metrics.relearn import Curves

CAP = 20
ORIGINAL = Curves(np.full((3, 1, 1), 0.1), np.full((3, 1, 1), 0.8))


def _arriving(steps):
  """Curves [models, orders] whose loss and accuracy arrive at these steps."""
  there = np.arange(CAP + 1) >= np.asarray(steps)[..., None]
  return Curves(np.where(there, 0.1, 2.0), np.where(there, 0.8, 0.0))


def _found(unlearned, oracles):
  return relearn.make()(
    unlearned=_arriving(unlearned),
    oracles=_arriving(oracles),
    original=ORIGINAL,
  )


ORACLES = [[10, 14], [12, 12], [8, 16]]  # 12 steps in the mean


def test_ain_by_hand():
  found = _found([[3, 3], [2, 4], [12, 12]], ORACLES)
  np.testing.assert_allclose(found.per_model, [0.25, 0.25, 1])
  assert found.to_loss.unlearned.tolist() == [[3, 3], [2, 4], [12, 12]]
  assert found.shown == '0.5' and found.censored == (0, 0)
  assert found.to_accuracy[0.95].oracles.tolist() == ORACLES


def test_of_itself_it_is_one():
  found = _found(ORACLES, ORACLES)
  assert found.value == (1, 1, 1) and found.at_floor


def test_the_least_is_one_step():
  """Looked at after every step: who never forgot needs one all the same."""
  found = _found([[0, 0], [0, 1], [1, 1]], ORACLES)
  assert (found.to_loss.unlearned == 1).all()


@pytest.mark.parametrize(
  ('late', 'sign'),
  [
    (('unlearned',), '> '),
    (('oracles',), '< '),
    (('unlearned', 'oracles'), '? '),
  ],
)
def test_a_run_that_does_not_arrive_is_shown_and_proves_nothing(late, sign):
  steps = {'unlearned': np.array(ORACLES), 'oracles': np.array(ORACLES)}
  for name in late:
    steps[name][1, 0] = CAP + 5
  found = _found(**steps)
  assert found.shown.startswith(sign)
  assert not found.at_floor
  assert sum(found.censored) == len(late)
  text = relearn.shown(getattr(found.to_loss, late[0]), found.cap)
  assert text[1, 0] == '> 20' and text[0, 0] == '10'


def test_arriving_at_the_cap_is_arriving():
  steps = np.array(ORACLES)
  steps[0, 0] = CAP
  assert _found(steps, ORACLES).censored == (0, 0)


def test_levels_are_parts_of_the_accuracy_of_the_original():
  """Accuracy grows by a tenth a step to .8: .4, .6 and .76 of it."""
  grows = np.minimum(np.arange(CAP + 1) / 10, 0.8) + 1e-9
  curve = np.broadcast_to(grows, (3, 2, CAP + 1))
  inputs = {
    name: Curves(np.ones_like(curve) - curve / 2, curve)
    for name in ('unlearned', 'oracles')
  }
  found = relearn.make()(**inputs, original=ORIGINAL)
  steps = {level: x.unlearned[0, 0] for level, x in found.to_accuracy.items()}
  assert steps == {0.5: 4, 0.75: 6, 0.95: 8}


def test_the_slack_of_the_loss():
  loss = np.full((3, 2, CAP + 1), 0.106)
  loss[:, :, 7:] = 0.1049
  curves = Curves(loss, None)
  found = relearn.make()(
    unlearned=curves, oracles=curves, original=Curves(ORIGINAL.loss, None)
  )
  assert (found.to_loss.unlearned == 7).all()
  assert found.to_accuracy == {}  # of a regression


def test_curves_that_do_not_fit_are_refused():
  curves = _arriving(ORACLES)
  with pytest.raises(errors.DataError, match='one shape'):
    relearn.make()(
      unlearned=_arriving(np.array(ORACLES)[:, :1]),
      oracles=curves,
      original=ORIGINAL,
    )
  for original in (Curves(*(x[:2] for x in ORIGINAL)),):
    with pytest.raises(errors.DataError, match='original of each model'):
      relearn.make()(unlearned=curves, oracles=curves, original=original)
  nothing = Curves(*(x[:, :, :1] for x in curves))
  with pytest.raises(errors.DataError, match='need a step'):
    relearn.make()(unlearned=nothing, oracles=nothing, original=ORIGINAL)


def test_which_data_order_came_first_is_nothing():
  inputs = relearn.null(0)
  turned = {
    name: curves._replace(
      loss=curves.loss[:, ::-1], accuracy=curves.accuracy[:, ::-1]
    )
    for name, curves in inputs.items()
  }
  np.testing.assert_allclose(
    relearn.make()(**turned).per_model, relearn.make()(**inputs).per_model
  )
