import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import trees


def _tree():
  return {
    'layer_10': {'kernel': jnp.arange(6.0).reshape(2, 3)},
    'layer_2': {'kernel': jnp.ones((3,), jnp.bfloat16)},
    'step': jnp.int32(4),
  }


def test_flatten_round_trips():
  tree = _tree()
  flat = trees.flatten(tree)
  assert list(flat) == sorted(flat)
  assert trees.bit_diff(trees.unflatten(flat), tree).equal


def test_two_leaves_of_one_name_are_refused():
  with pytest.raises(ValueError, match='same path'):
    trees.flatten({'a': {'b': 1}, 'a/b': 2})


@pytest.mark.parametrize(
  'change',
  [
    lambda t: {**t, 'step': jnp.int32(5)},
    lambda t: {**t, 'step': jnp.uint32(4)},
    lambda t: {**t, 'step': jnp.int32(4)[None]},
    lambda t: {**t, 'extra': jnp.zeros(0)},
    lambda t: {'renamed' if k == 'step' else k: v for k, v in t.items()},
    lambda t: {**t, 'layer_10': {'kernel': t['layer_10']['kernel'] * -1}},
    lambda t: {
      **t,
      'layer_10': {'kernel': t['layer_10']['kernel'].reshape(3, 2)},
    },
  ],
)
def test_any_change_changes_the_digest_and_is_reported(change):
  tree = _tree()
  changed = change(tree)
  assert trees.digest(changed) != trees.digest(tree)
  assert not trees.bit_diff(tree, changed).equal


def test_the_digest_sees_bits_not_values():
  zero, minus_zero = {'a': np.float32(0.0)}, {'a': np.float32(-0.0)}
  assert trees.digest(zero) != trees.digest(minus_zero)
  nan = {'a': np.full(3, np.nan, np.float32)}
  assert trees.digest(nan) == trees.digest({'a': np.copy(nan['a'])})
  assert trees.bit_diff(nan, nan).equal


def test_the_digest_does_not_depend_on_where_the_arrays_live():
  tree = _tree()
  assert trees.digest(jax.device_get(tree)) == trees.digest(tree)
  assert trees.digest({'k': jax.random.key(3)}) == trees.digest(
    {'k': jax.random.key(3)}
  )


def test_the_difference_says_where_and_how_much():
  left, right = _tree(), _tree()
  right['layer_10']['kernel'] = right['layer_10']['kernel'].at[0, 1].add(0.5)
  del right['step']
  report = trees.bit_diff(left, right)
  assert report.problems == (
    'layer_10/kernel: 1 of 6 differ, by at most 0.5',
    'step: only on the left',
  )


def test_partition_and_merge():
  tree = _tree()
  chosen, rest = trees.partition(tree, lambda p: p.startswith('layer_1'))
  assert list(chosen) == ['layer_10/kernel']
  assert trees.bit_diff(trees.merge(chosen, rest), tree).equal


def test_sizes():
  assert trees.count(_tree()) == 10
  assert trees.all_finite(_tree())
  assert not trees.all_finite({'a': jnp.array([1.0, jnp.inf])})


def test_the_digest_is_that_of_the_first_release():
  tree = {
    'layer_0': {'kernel': np.arange(6, dtype=np.float32).reshape(2, 3)},
    'stats': {'mean': np.ones(2, np.float16)},
    'step': np.int32(3),
  }
  assert trees.digest(tree) == (
    '2e21859ada0f00ed79f55c410d100adaa98a8804bb71d3e85243934ff28a243e'
  )


def test_where_a_path_ends_is_part_of_the_digest():
  """As plain text the two would be one stream: only the lengths differ."""
  left = {'a': np.frombuffer(b'1', np.uint8), 'b': np.zeros(0, np.uint8)}
  head = b'1:b|uint8|(0,)|0|'
  assert trees.digest(left) != trees.digest(
    {'a': np.frombuffer(b'1' + head, np.uint8)}
  )
  shifted = ({'2:a': np.zeros(0, np.uint8)}, {'a': np.zeros(0, np.uint8)})
  assert trees.digest(shifted[0]) != trees.digest(shifted[1])


def test_python_numbers_are_leaves_too():
  assert trees.count({'a': 1.0, 'b': np.zeros(2, np.float32)}) == 3
  assert trees.all_finite({'a': 1, 'b': 0.5, 'c': True})
  assert not trees.all_finite({'a': float('nan')})
  assert not trees.all_finite({'a': jnp.array([jnp.inf], jnp.bfloat16)})
