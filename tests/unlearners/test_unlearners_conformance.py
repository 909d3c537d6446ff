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

FORGET = np.array([0, 5, 11])
METHODS = [
  name
  for name in registry.available('unlearners')
  if hasattr(registry.get('unlearners', name), 'READS')
]
# Few passes; all else as a user gets it.
QUICK = {'epochs': 2, 'batch_size': 8}
# Where a default is too small to be seen in so few steps, or the task is not
# classification.
SETTINGS = {
  # Nothing is more than 7 times as important to 3 of 21 rows as to all.
  'ssd': {'threshold': 1.0},
  'ssd_label_free': {'threshold': 0.5, 'strength': 0.5},
}
# What is not classification.
TASKS = {'blindspot': 'regression', 'gaussian_amnesiac': 'regression'}
# What is not a perceptron: these act on convolutions.
IMAGES = ('convolution_transpose', 'msg')
CNN = registry.make(
  'models', 'cnn', num_outputs=test_fleet.CLASSES, widths=[2], hidden=4
)
# What begins with new weights in all blocks of this model.
STARTS_OVER = ('eu_k', 'retrain')
DEAR = ('laf_repair',)  # `laf`, which takes as long, stands for both
pytestmark = pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow if name in DEAR else ())
    for name in METHODS
  ],
)


def model_of(name):
  return CNN if name in IMAGES else test_fleet.MODEL


def data_of(name, n=21):
  data, rng = test_fleet.data(n), np.random.default_rng(2)
  if name in IMAGES:
    x = rng.normal(size=(n, 4, 4, 1)).astype(np.float32)
    data = dataclasses.replace(
      data, read=lambda at: x[at], input_shape=x.shape[1:]
    )
  if TASKS.get(name) == 'regression':
    y = rng.normal(size=(n, test_fleet.CLASSES)).astype(np.float32)
    task = types.Task('regression', test_fleet.CLASSES)
    data = dataclasses.replace(data, task=task, labels=y)
  return data


@functools.cache
def models_of(task, image):
  name = next(
    n for n in METHODS if (TASKS.get(n), n in IMAGES) == (task, image)
  )
  mine = test_fleet.fleet(data_of(name), epochs=20, model=model_of(name))
  return test_fleet.together(mine.train(np.ones((3, 21), bool)))


def made(name):
  module = registry.get('unlearners', name)
  taken = module.make.__signature__.parameters
  quick = {key: value for key, value in QUICK.items() if key in taken}
  return registry.make('unlearners', name, **quick | SETTINGS.get(name, {}))


def of(models, i):
  return jax.tree.map(lambda leaf: leaf[i], models)


def plain(name):
  """The request that a method is tried on."""
  return _words.Request(
    model=model_of(name),
    params=models_of(TASKS.get(name), name in IMAGES),
    data=data_of(name),
    forget=FORGET,
    control=data_of(name, n=30).subset(np.arange(21, 30)),
    width=2,
  )


@functools.cache
def done(name):
  """What a method makes of it, once."""
  return made(name)(plain(name)).params


def test_declares_what_it_reads(name):
  reads = registry.get('unlearners', name).READS
  every = {f'{part}.{field}' for part in _door.PARTS for field in ('x', 'y')}
  assert reads and set(reads) <= every


def test_bounds_of_what_is_tuned_are_of_its_settings(name):
  module = registry.get('unlearners', name)
  settings = module.make.__signature__.parameters
  for setting, (low, high) in getattr(module, 'TUNED', {}).items():
    assert isinstance(settings[setting].default, float), 'a run-time value'
    assert 0 < low < high


def test_moves_weights_and_harms_no_input(name):
  trained = plain(name).params
  before = trees.digest(trained)
  after = done(name)
  assert trees.digest(trained) == before
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
  for i in range(3):  # every model of the ensemble
    assert not trees.bit_diff(of(trained, i), of(after, i)).equal
  assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, trained)


def test_again_gives_the_same_bits(name):
  again = made(name)(plain(name)).params
  assert trees.bit_diff(again, done(name)).equal


def test_what_is_not_declared_is_withheld(name):
  reads, data = registry.get('unlearners', name).READS, plain(name).data
  everything = data.all()
  x, labels = everything.x.copy(), data.labels.copy()
  goes = np.isin(np.arange(len(data)), FORGET)
  for part, at in (('forget', goes), ('retain', ~goes)):
    if f'{part}.x' not in reads:
      x[at] = np.nan
    if f'{part}.y' not in reads:
      labels[at] = (labels[at] + 1) % test_fleet.CLASSES
  other = dataclasses.replace(data, read=lambda at: x[at], labels=labels)
  found = made(name)(plain(name)._replace(data=other)).params
  assert trees.bit_diff(found, done(name)).equal


def test_what_is_held_or_does_not_train_keeps_its_bits(name):
  rng, trained = np.random.default_rng(1), plain(name).params
  first = 'norm_0/group/scale' if name in IMAGES else 'layer_0/bias'
  frozen = dataclasses.replace(
    model_of(name),
    trainable=lambda path: types.not_stats(path) and path != first,
  )
  kept = jax.tree.map(lambda leaf: rng.random(leaf.shape) < 0.4, trained)
  pruned = jax.tree.map(lambda k, p: np.where(k, p, 0), kept, trained)
  for start in (pruned, trained):  # held at 0, and held where they are
    asked = plain(name)._replace(model=frozen, params=start, kept=kept)
    after = made(name)(asked).params
    assert np.array_equal(
      trees.flatten(after)[first], trees.flatten(start)[first]
    )
    for path, leaf in trees.flatten(after).items():
      held = ~trees.flatten(kept)[path]
      was = trees.flatten(start)[path]
      np.testing.assert_array_equal(
        leaf[held].view(np.uint32), was[held].view(np.uint32)
      )
    assert not trees.bit_diff(after, start).equal


def test_neighbors_do_not_matter(name):
  others = jax.tree.map(lambda leaf: leaf[[0, 2, 2]], plain(name).params)
  found = made(name)(plain(name)._replace(params=others)).params
  assert trees.bit_diff(of(found, 0), of(done(name), 0)).equal
  same = trees.bit_diff(of(found, 1), of(done(name), 1)).equal
  assert same == (name in STARTS_OVER)


def test_says_what_it_costs(name):
  record = made(name)(plain(name)).record
  assert record.gradients + record.outputs > 0
  assert record.seconds > 0


def test_a_wrong_request_is_refused(name):
  with pytest.raises(errors.UnknownPosition, match='21'):
    made(name)(plain(name)._replace(forget=np.array([3, 21])))
  with pytest.raises(errors.UnknownArgument, match='no_such_setting'):
    registry.make('unlearners', name, no_such_setting=1)
