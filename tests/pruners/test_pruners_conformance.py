"""What every pruner must do; a new file in pruners/ is tested by being there.

A pruner leaves exactly as many kernels as it says, 0 everywhere else, trains
what is left and nothing else, and makes of a model the same in any company.
"""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, registry, trees

PRUNERS = registry.available('pruners')
ROWS = 21
# What is not asked for by its sparsity.
SETTINGS = {'imp': {'rounds': 3}}
SPARSITY = {'imp': 1 - 0.8**3}
CNN = registry.make(
  'models', 'cnn', num_outputs=test_fleet.CLASSES, widths=[3, 4], hidden=4
)
pytestmark = pytest.mark.parametrize('name', PRUNERS)


def made(name, **settings):
  default = SETTINGS.get(name, {'sparsity': 0.6})
  return registry.make('pruners', name, **{**default, **settings})


def seen(models=3):
  masks = np.random.default_rng(1).random((models, ROWS)) < 0.6
  masks[:, 5] = False
  return masks


@functools.cache
def fleet(poison=None):
  """One for all tests: its programs are compiled once."""
  return test_fleet.fleet(test_fleet.data(poison=poison))


@functools.cache
def done(name):
  return made(name)(fleet(), seen())


@functools.cache
def images():
  x = np.random.default_rng(2).normal(size=(ROWS, 8, 8, 1)).astype(np.float32)
  data = dataclasses.replace(
    test_fleet.data(), read=lambda at: x[at], input_shape=x.shape[1:]
  )
  return test_fleet.fleet(data, model=CNN, epochs=2)


def check(pruned, name, scope):
  """Exactly as many kernels live, all dead ones are 0, all else is free."""
  params, kept = trees.flatten(pruned.params), trees.flatten(pruned.kept)
  assert {p: np.shape(leaf) for p, leaf in params.items()} == {
    p: np.shape(leaf) for p, leaf in kept.items()
  }
  assert all(leaf.dtype == bool for leaf in kept.values())
  for path, leaf in kept.items():
    assert path in scope or leaf.all()
    # No negative zero either: what is pruned has no bit set.
    assert not params[path][~leaf].view(np.uint32).any()
  living = sum(
    kept[path].sum(axis=tuple(range(1, kept[path].ndim))) for path in scope
  )
  size = sum(kept[path][0].size for path in scope)
  assert (living == round((1 - SPARSITY.get(name, 0.6)) * size)).all()
  assert trees.all_finite(pruned.params)


def test_leaves_as_many_as_it_says(name):
  check(done(name), name, ['layer_0/kernel'])


@pytest.mark.slow  # half a minute each, to compile
def test_prunes_convolutions_where_there_are_some(name):
  pruned = made(name)(images(), seen(2))
  check(pruned, name, ['conv_0/kernel', 'conv_1/kernel'])


def test_prunes_what_is_asked_for(name):
  scope = ('head/kernel', 'layer_0/kernel')
  check(made(name, scope=scope)(fleet(), seen(1)), name, scope)


def test_trains_what_is_left(name):
  mine, pruned = fleet(), done(name)
  start = trees.flatten(mine.starts(range(3)))
  for path, leaf in trees.flatten(pruned.params).items():
    kept = trees.flatten(pruned.kept)[path]
    moved = (leaf != start[path]) & kept
    assert moved.any(axis=tuple(range(1, leaf.ndim))).all(), path


def test_a_model_is_the_same_in_any_company(name):
  few = made(name)(fleet(), seen()[[2]], [2])
  for mine, theirs in zip(few, done(name), strict=True):
    apart = jax.tree.map(lambda leaf: leaf[[2]], theirs)
    assert trees.bit_diff(mine, apart).equal
  # And models differ in what they keep.
  kept = trees.flatten(done(name).kept)['layer_0/kernel']
  assert (kept[0] != kept[1]).any()


def test_what_no_model_sees_leaves_no_trace(name):
  settings = {}
  if name in ('imp', 'omp'):  # whose published masks look at all rows
    settings = {'mask_from': 'retain'}
  clean, poisoned = (
    made(name, **settings)(fleet(at), seen()) for at in (None, 5)
  )
  for mine, theirs in zip(clean, poisoned, strict=True):
    assert trees.bit_diff(mine, theirs).equal


def test_models_without_a_kernel_to_prune_are_refused(name):
  linear = registry.make('models', 'linear', num_outputs=test_fleet.CLASSES)
  with pytest.raises(errors.ConfigError, match='head/kernel'):
    made(name)(test_fleet.fleet(model=linear), seen())


@pytest.mark.parametrize('scope', ['convs', ('layer_1/kernel',)], ids=str)
def test_scopes_that_there_are_not_are_refused(name, scope):
  with pytest.raises(errors.UnknownName, match='layer_1|convs'):
    made(name, scope=scope)(fleet(), seen())


def test_a_wrong_setting_is_refused(name):
  with pytest.raises(errors.UnknownArgument, match='no_such_setting'):
    registry.make('pruners', name, no_such_setting=1)
  share = 'rate' if name == 'imp' else 'sparsity'
  for wrong in (0, 1, -0.1, 1.5, float('nan')):
    with pytest.raises(errors.ConfigError, match=f'{share} is between 0 and 1'):
      made(name, **{share: wrong})
  with pytest.raises(errors.ConfigError, match='of 30 weights is none'):
    made(name, **{share: 0.99})(fleet(), seen())
