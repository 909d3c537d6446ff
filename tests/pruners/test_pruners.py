"""What each way of pruning promises, against plain NumPy."""

import functools

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from tests.pruners import test_pruners_conformance as conformance
from unlearn_jax import errors, registry, trees
from unlearn_jax.fleet import fleet as fleet_lib
from unlearn_jax.pruners import _rewinding, _words
from unlearn_jax.unlearners import _words as unlearner_words

KERNEL = 'layer_0/kernel'
WIDE = registry.make(
  'models', 'mlp', num_outputs=test_fleet.CLASSES, hidden=[100, 100, 4]
)


@functools.cache
def wide(seed=0):
  return test_fleet.fleet(model=WIDE, epochs=1, seed=seed)


def everyone(models=2):
  return np.ones((models, conformance.ROWS), bool)


def prune(name, fleet, masks, **settings):
  return registry.make('pruners', name, **settings)(fleet, masks)


def kernels_of(tree, paths=(KERNEL,)):
  return [np.asarray(trees.flatten(tree)[path]) for path in paths]


def top(scores, count):
  """Which are the `count` largest, by sorting."""
  chosen = np.zeros(scores.size, bool)
  chosen[np.argsort(-scores.ravel(), kind='stable')[:count]] = True
  return chosen.reshape(scores.shape)


def test_ranking_is_exact_where_scores_tie():
  rng = np.random.default_rng(0)
  scores = {
    'a': rng.integers(0, 3, (4, 5)).astype(np.float32),
    'b': np.zeros(7, np.float32),
  }
  flat = np.concatenate([leaf.ravel() for leaf in scores.values()])
  for count in range(len(flat) + 1):
    found = _words.largest(scores, count)
    found = np.concatenate([np.ravel(leaf) for leaf in found.values()])
    np.testing.assert_array_equal(found, top(flat, count))


@pytest.mark.parametrize(
  'sparsity',
  [0.95, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.5, 0.9, 0.995))],
)
def test_any_sparsity_is_exact(sparsity):
  pruned = prune('random', wide(), everyone(), sparsity=sparsity)
  paths = [f'layer_{i}/kernel' for i in range(3)]
  kept = kernels_of(pruned.kept, paths)
  size = 6 * 100 + 100 * 100 + 100 * 4
  for model in range(2):
    living = sum(leaf[model].sum() for leaf in kept)
    assert living == round((1 - sparsity) * size)


@pytest.mark.parametrize('mask_from', ['all', 'retain'])
def test_one_shot_keeps_the_largest_trained_weights(mask_from):
  mine, masks = conformance.fleet(), conformance.seen()
  searched = np.ones_like(masks) if mask_from == 'all' else masks
  (trained,) = kernels_of(fleet_lib.together(mine.train(searched)))
  pruned = prune('omp', mine, masks, sparsity=0.6, mask_from=mask_from)
  for found, weights in zip(*kernels_of(pruned.kept), trained, strict=True):
    np.testing.assert_array_equal(found, top(np.abs(weights), 12))


def test_rewinding_restarts_at_an_epoch_and_with_its_schedule():
  mine, masks = conformance.fleet(), conformance.seen()
  pruned = prune('omp', mine, masks, sparsity=0.6, rewind=1)
  early = fleet_lib.together(mine.train(masks, end=1))
  start = jax.tree.map(lambda k, p: np.where(k, p, 0), pruned.kept, early)
  late = mine.train(masks, start=start, kept=pruned.kept, begin=1)
  assert trees.bit_diff(pruned.params, fleet_lib.together(late)).equal


@pytest.mark.parametrize('rewind', [3, -1])
def test_an_epoch_that_there_is_not_is_refused(rewind):
  with pytest.raises(errors.ConfigError, match=rf'0\.\.2, got {rewind}'):
    prune('omp', conformance.fleet(), everyone(), rewind=rewind)
  with pytest.raises(errors.UnknownName, match='best'):
    registry.make('pruners', 'omp', rewind='best')
  with pytest.raises(errors.UnknownName, match='forget'):
    registry.make('pruners', 'omp', mask_from='forget')


def test_iterating_drops_a_fifth_of_the_living():
  search = registry.make('pruners', 'imp', rounds=14)
  expected = [0.8**k for k in range(1, 15)]
  np.testing.assert_allclose(search.fractions, expected, rtol=1e-12)
  mine, masks = conformance.fleet(), conformance.seen()
  masked = [
    kernels_of(prune('imp', mine, masks, rounds=k).kept)[0] for k in (1, 2, 3)
  ]
  living = [leaf.sum(axis=(1, 2)).tolist() for leaf in masked]
  assert living == [[24] * 3, [19] * 3, [15] * 3]
  for before, after in zip(masked, masked[1:], strict=False):
    assert not (after & ~before).any()  # the dead stay dead


def test_the_dead_stay_dead_where_the_living_are_0_too():
  params = {'a': np.array([[0.0, 0.0, 0.0, 3.0]], np.float32)}
  living = {'a': np.array([[False, False, True, True]])}
  found = _rewinding._smallest_out(params, 2, living, living)
  np.testing.assert_array_equal(found['a'], living['a'])


def test_flow_is_that_of_plain_matrices():
  mine = conformance.fleet()
  pruned = prune('synflow', mine, everyone(3), sparsity=0.6, rounds=1)
  start = mine.starts(range(3))
  first, head = kernels_of(start, (KERNEL, 'head/kernel'))
  scores = np.abs(first) * np.abs(head).sum(axis=2)[:, None]
  for found, score in zip(*kernels_of(pruned.kept), scores, strict=True):
    np.testing.assert_array_equal(found, top(score, 12))


def test_flow_leaves_no_layer_dry():
  paths = [f'layer_{i}/kernel' for i in range(3)]
  living = {
    rounds: np.array(
      [
        leaf.sum(axis=(1, 2))
        for leaf in kernels_of(
          prune(
            'synflow', wide(), everyone(), sparsity=0.99, rounds=rounds
          ).kept,
          paths,
        )
      ]
    )
    for rounds in (1, 100)
  }
  assert (living[100] > 0).all()
  assert (living[1] == 0).any()  # in one round it does


@pytest.mark.parametrize('name', ['random', 'synflow'])
def test_masks_before_training_know_no_data(name):
  mine = conformance.fleet()
  other = test_fleet.data()
  other = test_fleet.fleet(other.subset(np.arange(len(other))[::-1]), epochs=1)
  found = [
    prune(name, one, everyone(), sparsity=0.6).kept for one in (mine, other)
  ]
  assert trees.bit_diff(*found).equal


def test_random_masks_are_of_seed_and_index():
  found = [
    prune('random', wide(seed), everyone(), sparsity=0.9).kept
    for seed in (0, 0, 1)
  ]
  assert trees.bit_diff(found[0], found[1]).equal
  assert not trees.bit_diff(found[0], found[2]).equal


@pytest.mark.parametrize(
  'name', ['finetune', 'gradient_ascent', 'l1_sparse', 'salun', 'scrub']
)
def test_what_is_pruned_stays_so_when_models_forget(name):
  pruned = conformance.done('omp')
  request = unlearner_words.Request(
    model=test_fleet.MODEL,
    params=pruned.params,
    data=test_fleet.data(),
    forget=np.array([2, 5, 11]),
    width=2,
    kept=pruned.kept,
  )
  method = registry.make('unlearners', name, epochs=17, batch_size=8)
  after = method(request).params  # 17 epochs of 3 batches
  kept, leaves = trees.flatten(pruned.kept), trees.flatten(after)
  for path, leaf in leaves.items():
    assert not leaf[~kept[path]].view(np.uint32).any()
  assert not trees.bit_diff(after, pruned.params).equal
