"""Matching moves the weights that are judged towards the targets it is given.

Small models on noise; what matching is worth is shown by the study.
"""

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, registry, trees
from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _matching, _words

FORGET = np.array([2, 5, 11])
SOLVERS = {
  'adam': {'name': 'adam', 'epochs': 60, 'learning_rate': 0.05},
  'gauss_newton': {'name': 'gauss_newton', 'rounds': 4, 'damping': 0.01},
}


@pytest.fixture(scope='module')
def request_():
  mine = test_fleet.fleet(epochs=20)
  everyone = np.ones((6, 21), bool)
  without = everyone.copy()
  without[:, FORGET] = False
  return _words.Request(
    model=test_fleet.MODEL,
    params=test_fleet.together(mine.train(everyone)),
    data=mine.data,
    forget=FORGET,
    teachers=test_fleet.together(mine.train(without, range(50, 56))),
    shift=np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32),
    width=2,
  )


def outputs(request, params):
  x = request.data.all().x
  return fleet.outputs(request.model, params, x, width=2)


@pytest.mark.parametrize('solver', SOLVERS)
def test_every_model_comes_near_its_own_teacher(request_, solver):
  made = registry.make('unlearners', 'oracle_matching', solver=SOLVERS[solver])
  done = made(request_)
  goal = outputs(request_, request_.teachers)
  before = np.abs(outputs(request_, request_.params) - goal).mean((1, 2))
  after = np.abs(outputs(request_, done.params) - goal).mean((1, 2))
  assert (after < 0.85 * before).all() and after.mean() < 0.6 * before.mean()
  assert done.shift is None
  # And not nearer to another's: the spread of an ensemble survives.
  others = np.abs(outputs(request_, done.params) - goal[::-1]).mean((1, 2))
  assert (after < others).all()


@pytest.mark.parametrize('solver', SOLVERS)
def test_dmm_moves_every_model_from_where_it_was(request_, solver):
  small = request_._replace(shift=0.3 * request_.shift)
  done = registry.make('unlearners', 'dmm', solver=SOLVERS[solver])(small)
  before = outputs(small, small.params)
  goal = before + small.shift[:21]
  moved = np.abs(outputs(small, done.params) - goal).mean()
  assert moved < 0.7 * np.abs(before - goal).mean()
  assert not trees.bit_diff(done.params, small.params).equal


def test_a_shift_may_be_of_each_model(request_):
  scale = np.linspace(-0.5, 0.5, 6)[:, None, None]
  each = request_._replace(shift=np.float32(scale * request_.shift))
  make = registry.make('unlearners', 'dmm', solver=SOLVERS['gauss_newton'])
  before, done = outputs(each, each.params), outputs(each, make(each).params)
  along = np.sum((done - before) * request_.shift[:21], axis=(1, 2))
  assert (np.diff(along) > 0).all()  # each went as far as it was told
  short = each._replace(shift=each.shift[:, :20])
  with pytest.raises(errors.DataError, match='each of 21 examples, got 20'):
    make(short)


def test_nothing_to_change_changes_nearly_nothing(request_):
  still = request_._replace(shift=np.zeros_like(request_.shift))
  done = registry.make('unlearners', 'dmm', solver=SOLVERS['gauss_newton'])
  now = outputs(still, done(still).params)
  np.testing.assert_allclose(now, outputs(still, still.params), atol=1e-4)


def test_dm_direct_moves_answers_and_no_weight(request_):
  done = registry.make('unlearners', 'dm_direct')(request_)
  assert trees.bit_diff(done.params, request_.params).equal
  assert (done.shift == request_.shift).all()


def test_the_same_request_gives_the_same_bits(request_):
  made = registry.make(
    'unlearners', 'dmm', solver={'name': 'adam', 'epochs': 2}
  )
  first, again = made(request_), made(request_)
  assert trees.bit_diff(first.params, again.params).equal
  few = jax.tree.map(lambda leaf: leaf[:4], request_.params)
  part = made(request_._replace(params=few))
  whole = jax.tree.map(lambda leaf: leaf[:4], first.params)
  assert trees.bit_diff(part.params, whole).equal


def test_what_is_matched(request_):
  at = _matching.rows(request_, 2, 3)
  assert (np.bincount(at, minlength=21)[FORGET] == 2).all()
  kept = np.setdiff1d(at, FORGET)
  assert len(kept) == 9 and len(at) == 15
  assert len(_matching.rows(request_, 1, 100)) == 21  # no more than there are
  other = _matching.rows(request_._replace(seed=1), 2, 3)
  assert set(other) != set(at)


@pytest.mark.parametrize(
  ('name', 'change', 'message'),
  [
    ('oracle_matching', {'teachers': None}, 'needs teachers'),
    ('dmm', {'shift': None}, 'needs shift'),
    ('dm_direct', {'shift': None}, 'needs shift'),
    ('dmm', {'shift': np.zeros((5, 3))}, 'got 5'),
    ('dmm', {'forget': np.array([], int)}, 'at least one'),
    ('dmm', {'forget': np.array([3, 3])}, 'distinct'),
    ('dmm', {'forget': np.array([21])}, r'0\.\.20'),
    ('dmm', {'forget': np.array([-1])}, r'0\.\.20'),
    ('dmm', {'forget': np.arange(21)}, 'not all'),
  ],
)
def test_requests_that_cannot_be_carried_out(request_, name, change, message):
  unlearn = registry.make('unlearners', name)
  with pytest.raises(errors.UnlearnError, match=message):
    unlearn(request_._replace(**change))


def test_settings_that_no_solver_has():
  with pytest.raises(errors.UnknownName, match='newton'):
    registry.make('unlearners', 'dmm', solver={'name': 'newton'})
  with pytest.raises(errors.UnknownArgument, match='rounds'):
    registry.make('unlearners', 'dmm', solver={'name': 'adam', 'rounds': 3})
