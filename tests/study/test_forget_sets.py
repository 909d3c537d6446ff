"""Forget sets are what they are called, the same each time, and checked."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, keys
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


def test_a_principal_set_may_take_both_ends():
  weights = np.diag([1.0, 1, 1, 1, 1, 1, 1, 1])
  vector = np.array([5.0, -4, 3, -3.5, 0.1, 0.2, 4.5, 0])
  weights = np.outer(vector, vector) + 0.01 * weights
  assert forget_sets.principal(weights, 4, both=True).tolist() == [0, 1, 3, 6]
  assert forget_sets.principal(weights, 3, both=True).tolist() == [0, 1, 6]
  assert forget_sets.principal(weights, 3).tolist() == [0, 2, 6]


def test_the_next_most_memorised():
  weights = np.diag([1.0, 5, 2, 9, 4])
  assert forget_sets.memorised(weights, 2, after=2).tolist() == [2, 4]
  with pytest.raises(errors.ConfigError, match='1..4'):
    forget_sets.memorised(weights, 2, after=3)


DRAWN = tuple(kind for kind in forget_sets.KINDS if kind != 'manipulated')
WITH_DATAMODEL = tuple(kind for kind in DRAWN if kind != 'worst')


def untrained(draw):
  x = np.zeros((1, 6), np.float32)
  params = test_fleet.MODEL.init(keys.root(draw), x)
  return jax.tree.map(lambda leaf: leaf[None], params)


def chooser(sets=WITH_DATAMODEL, size=3, datamodel=True, **fields):
  rng = np.random.default_rng(4)
  owned = dataclasses.replace(
    test_fleet.data(60), owners=np.arange(60) % 24, **fields
  )
  return forget_sets.Chooser(
    data=owned,
    seed=5,
    sets=forget_sets.named(sets, size, datamodel=datamodel),
    model=test_fleet.MODEL,
    params=untrained,
    effects=rng.normal(size=(60, 60)),
    features=rng.normal(size=(60, 4)),
  )


@pytest.mark.parametrize('kind', DRAWN)
def test_a_study_never_calibrates_on_what_it_publishes(kind):
  sets = {
    'one': {'kind': kind, 'draw': 1},
    'three': {'kind': kind, 'draw': 3},
    'random': {'size': 7},
  }
  if kind == 'class':
    sets['three']['draw'] = 2  # of 3
  datamodel = kind in WITH_DATAMODEL
  choose = chooser(sets, datamodel=datamodel)
  choose.check(1)
  published = [set(choose('one')), set(choose('three'))]
  like = set(choose('one', 1))
  assert published[0] != published[1] and like not in published
  assert set(choose('one', 1)) == set(choose('three', 1)) == like
  assert len(choose('random')) == 7
  if kind == 'owner':
    assert {len(s) for s in (*published, like)} == {3}
  again = chooser(sets, datamodel=datamodel)
  assert set(again('one')) == published[0]


def test_a_set_is_what_its_kind_says():
  choose = chooser(size=4)
  data, effects = choose.data, choose.effects
  assert len(set(data.labels[choose('class')])) == 1
  assert len(set(data.labels[[*choose('class'), *choose('class', 1)]])) == 2
  own = np.sort(np.diagonal(effects))[::-1]
  for like in (0, 1):
    found = np.diagonal(effects)[choose('memorised', like)]
    assert set(found) == set(own[4 * like : 4 * like + 4])
  principal = [choose('principal', k).tolist() for k in range(4)]
  assert principal == [
    forget_sets.principal(effects, 4, c).tolist() for c in (1, -2, 3, -4)
  ]
  near = choose('nearest')
  far = np.setdiff1d(np.arange(60), near)

  def reach(center):
    distance = np.linalg.norm(choose.features - choose.features[center], axis=1)
    return distance[near].max() < distance[far].min()

  assert any(reach(center) for center in near)


@pytest.mark.parametrize(
  ('sets', 'message'),
  [
    (('randm',), "randm'. Did you mean 'random'"),
    ((), 'names none'),
    ({'a': {'kind': 'random', 'sise': 3}}, "'sise'"),
    ({'a': {'kind': 'random', 'both': True}}, "'both'"),
    ({'a': {'kind': 'random', 'draw': 0}}, "'a' is 1 or more, got 0"),
    ({'a': {'kind': 'class', 'draw': -1}}, 'got -1'),
    ({'a': {'kind': 'random', 'size': 60}}, 'got 60'),
    ({'a': {'kind': 'class', 'draw': 3}}, 'draw 4 of class'),
    ({'a': {'kind': 'class', 'size': 40}}, 'of class'),
    ({'a': {'kind': 'owner', 'draw': 24}}, 'draw 25 of owner of 2 to 3'),
    ({'a': {'kind': 'owner', 'size': 1}}, 'only 0'),
  ],
)
def test_a_study_that_cannot_be_is_refused_before_any_model(sets, message):
  with pytest.raises(errors.UnlearnError, match=message):
    dataclasses.replace(chooser(sets), effects=None).check(1)
