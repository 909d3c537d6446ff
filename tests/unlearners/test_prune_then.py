"""Any unlearner, on models without their smallest kernels."""

import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, registry, trees
from unlearn_jax.unlearners import _words

KERNEL = 'layer_0/kernel'  # 6 x 5, the only one that is pruned


@pytest.fixture(scope='module')
def request_():
  mine = test_fleet.fleet(epochs=20)
  return _words.Request(
    model=test_fleet.MODEL,
    params=test_fleet.together(mine.train(np.ones((2, 21), bool))),
    data=test_fleet.data(),
    forget=np.array([2, 5, 11]),
    width=2,
  )


def made(name='gradient_ascent', **fields):
  return registry.make(
    'unlearners',
    'prune_then',
    **{
      'unlearner': {'name': name, 'epochs': 2},
      'sparsity': 0.8,
      'finetune': {'epochs': 3},
      **fields,
    },
  )


def test_the_smallest_kernels_are_0_to_the_end(request_):
  done = made()(request_)
  after, before = trees.flatten(done.params), trees.flatten(request_.params)
  for new, old in zip(after[KERNEL], before[KERNEL], strict=True):
    smallest = np.argsort(np.abs(old).ravel())[:24]
    assert (np.flatnonzero(new == 0) == np.sort(smallest)).all()
  for path, leaf in after.items():
    assert path == KERNEL or leaf.all()
  # Three passes over 18 rows, then two over 3.
  assert done.record.gradients == 3 * 18 + 2 * 3


def test_it_is_the_unlearner_on_the_recovered_models(request_):
  """Another unlearner starts at the same place, and both come from there."""
  sparse = trees.flatten(made('finetune')(request_).params)
  ascent = trees.flatten(made()(request_).params)
  assert ((sparse[KERNEL] == 0) == (ascent[KERNEL] == 0)).all()
  assert not np.array_equal(sparse['head/kernel'], ascent['head/kernel'])


def test_weights_held_before_stay_held(request_):
  kept = trees.flatten(request_.params)
  kept = {path: np.ones(leaf.shape, bool) for path, leaf in kept.items()}
  kept['head/bias'][:] = False
  after = made()(request_._replace(kept=trees.unflatten(kept))).params
  was = request_.params['head']['bias']
  assert np.array_equal(after['head']['bias'], was)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'sparsity': 1.0}, 'got 1.0'),
    ({'scope': 'all'}, 'all'),
    ({'unlearner': {'name': 'no_such'}}, 'no_such'),
    ({'unlearner': {'epochs': 1}}, 'None'),
    ({'unlearner': {'name': 'dmm'}}, 'does not hold'),
    ({'unlearner': {'name': 'prune_then'}}, 'does not hold'),
    ({'finetune': {'no_such': 1}}, 'no_such'),
  ],
)
def test_settings_that_make_no_sense(fields, message):
  with pytest.raises(errors.UnlearnError, match=message):
    made(**fields)
