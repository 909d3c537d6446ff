"""Forget sets are what they are called, the same each time, and checked."""

import json

import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors
from unlearn_jax.study import forget_sets

DATA = test_fleet.data()


def test_a_random_set_is_a_draw_that_no_other_row_moves():
  first = forget_sets.random(DATA, 5, seed=3)
  assert (forget_sets.random(DATA, 5, seed=3) == first).all()
  assert len(set(first)) == 5 and (np.diff(first) > 0).all()
  assert set(forget_sets.random(DATA, 5, seed=4)) != set(first)
  assert set(first) < set(forget_sets.random(DATA, 9, seed=3))
  left = np.setdiff1d(np.arange(21), [0])
  again = DATA.ids[left][forget_sets.random(DATA.subset(left), 5, seed=3)]
  assert set(DATA.ids[first]) - {DATA.ids[0]} <= set(again)


def test_a_principal_set_finds_the_group_that_acts_together():
  rng = np.random.default_rng(0)
  weights = 0.1 * rng.normal(size=(30, 30))
  group, others = np.arange(4, 9), np.arange(20, 24)
  weights[np.ix_(group, group)] += 3
  weights[np.ix_(others, others)] += 2
  assert set(forget_sets.principal(weights, 5)) == set(group)
  assert set(forget_sets.principal(weights, 4, 2)) == set(others)
  assert not set(forget_sets.principal(weights, 5, -1)) & set(group)
  # The sign of a singular vector is nobody's choice.
  assert (forget_sets.principal(-weights, 5) == group).all()


def test_the_other_constructions():
  labels = np.array([0, 1, 1, 0, 1, 1])
  assert forget_sets.of_class(labels, 1, 3).tolist() == [1, 2, 4]
  line = np.array([[0.0], [5.0], [1.0], [4.0], [9.0]])
  assert forget_sets.nearest(line, 1, 2).tolist() == [1, 3]
  assert forget_sets.memorised(np.diag([1.0, 5, 2, 9]), 2).tolist() == [1, 3]
  assert forget_sets.of_owner(DATA, 9).tolist() == [3]


def test_sets_are_saved_by_id(tmp_path):
  forget_sets.save(tmp_path / 's.json', DATA, {'some': np.array([1, 4])})
  assert json.loads((tmp_path / 's.json').read_text()) == {'some': [3, 12]}


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: forget_sets.random(DATA, 21), '1..20'),
    (lambda: forget_sets.random(DATA, 0), 'got 0'),
    (lambda: forget_sets.principal(np.eye(4), 2, 0), 'component is 1..4'),
    (lambda: forget_sets.principal(np.eye(4), 2, 5), 'got 5'),
    (lambda: forget_sets.of_class(DATA.labels, 7, 1), 'of class 7'),
    (lambda: forget_sets.nearest(np.eye(4), 4, 2), '0..3'),
    (lambda: forget_sets.of_owner(DATA, 1000), '1000'),
  ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
  with pytest.raises(errors.UnlearnError, match=message):
    make()
