"""What every method that looks at one model must do; a new file is tested too.

A method declares READS, gets that and nothing else, moves weights but none that
are held, harms nothing it was given, and is the same whoever it runs beside.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, registry, trees, types
from unlearn_jax.unlearners import _door, _words

FORGET = np.array([2, 5, 11])
METHODS = [
  name
  for name in registry.available('unlearners')
  if hasattr(registry.get('unlearners', name), 'READS')
]
# Few passes; all else as a user gets it.
QUICK = {'epochs': 2, 'batch_size': 8}
# Where a default is too small to be seen in so few steps, or the task is not
# classification.
SETTINGS = {}
pytestmark = pytest.mark.parametrize('name', METHODS)


@pytest.fixture(scope='module')
def trained():
  mine = test_fleet.fleet(epochs=20)
  return test_fleet.together(mine.train(np.ones((3, 21), bool)))


def made(name):
  module = registry.get('unlearners', name)
  taken = module.make.__signature__.parameters
  quick = {key: value for key, value in QUICK.items() if key in taken}
  return registry.make('unlearners', name, **quick | SETTINGS.get(name, {}))


def of(models, i):
  return jax.tree.map(lambda leaf: leaf[i], models)


def request(trained, data=None, **fields):
  control = test_fleet.data(n=30)
  return _words.Request(
    model=test_fleet.MODEL,
    params=trained,
    data=test_fleet.data() if data is None else data,
    forget=FORGET,
    control=control.subset(np.arange(21, 30)),
    width=2,
    **fields,
  )


@pytest.fixture(scope='module')
def done(trained):
  """What each method makes of the plain request, once."""
  return functools.cache(lambda name: made(name)(request(trained)).params)


def test_declares_what_it_reads(name):
  reads = registry.get('unlearners', name).READS
  assert reads and set(reads) <= set(_door.ALL)


def test_moves_weights_and_harms_no_input(name, trained, done):
  before = trees.digest(trained)
  after = done(name)
  assert trees.digest(trained) == before
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
  for i in range(3):  # every model of the ensemble
    assert not trees.bit_diff(of(trained, i), of(after, i)).equal
  assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, trained)


def test_again_gives_the_same_bits(name, trained, done):
  again = made(name)(request(trained)).params
  assert trees.bit_diff(again, done(name)).equal


def test_what_is_not_declared_is_withheld(name, trained, done):
  reads, data = registry.get('unlearners', name).READS, test_fleet.data()
  everything = data.all()
  x, labels = everything.x.copy(), data.labels.copy()
  goes = np.isin(np.arange(len(data)), FORGET)
  for part, at in (('forget', goes), ('retain', ~goes)):
    if f'{part}.x' not in reads:
      x[at] = 7.0
    if f'{part}.y' not in reads:
      labels[at] = (labels[at] + 1) % test_fleet.CLASSES
  other = dataclasses.replace(data, read=lambda at: x[at], labels=labels)
  found = made(name)(request(trained, other)).params
  assert trees.bit_diff(found, done(name)).equal


def test_held_weights_keep_their_bits(name, trained):
  rng = np.random.default_rng(1)
  kept = jax.tree.map(lambda leaf: rng.random(leaf.shape) < 0.4, trained)
  pruned = jax.tree.map(lambda k, p: np.where(k, p, 0), kept, trained)
  for start in (pruned, trained):  # held at 0, and held where they are
    after = made(name)(request(start, kept=kept)).params
    for path, leaf in trees.flatten(after).items():
      held = ~trees.flatten(kept)[path]
      was = trees.flatten(start)[path]
      np.testing.assert_array_equal(
        leaf[held].view(np.uint32), was[held].view(np.uint32)
      )
    assert not trees.bit_diff(after, start).equal


def test_neighbors_do_not_matter(name, trained, done):
  # Model 0 by itself: its number, and so its draws, is the same.
  alone = jax.tree.map(lambda leaf: leaf[:1], trained)
  found = made(name)(request(alone)).params
  for path, leaf in trees.flatten(found).items():
    np.testing.assert_allclose(
      leaf[0], trees.flatten(done(name))[path][0], rtol=1e-3, atol=1e-3
    )


def test_what_does_not_train_stays(name, trained):
  frozen = dataclasses.replace(
    test_fleet.MODEL,
    trainable=lambda path: types.not_stats(path) and 'layer_0' not in path,
  )
  after = made(name)(request(trained)._replace(model=frozen)).params
  mine, theirs = (
    trees.flatten(tree)['layer_0/kernel'] for tree in (after, trained)
  )
  assert np.array_equal(mine, theirs)


def test_says_what_it_costs(name, trained):
  record = made(name)(request(trained)).record
  assert record.gradients + record.outputs > 0
  assert record.seconds > 0


def test_a_wrong_request_is_refused(name, trained):
  with pytest.raises(errors.UnknownPosition, match='21'):
    made(name)(request(trained)._replace(forget=np.array([3, 21])))
  with pytest.raises(errors.UnknownArgument, match='no_such_setting'):
    registry.make('unlearners', name, no_such_setting=1)
