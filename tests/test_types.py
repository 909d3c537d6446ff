"""Rows are named by whole positions, and subsets of subsets stay cheap."""

import gc
import weakref

import numpy as np
import pytest

from unlearn_jax import errors, types


def _data(n=6):
  x = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
  return types.Dataset(
    name='made up',
    task=types.Task('classification', 2),
    ids=np.arange(n) * 10,
    owners=np.arange(n),
    labels=(np.arange(n) % 2).astype(np.int32),
    read=lambda positions: x[positions],
    input_shape=(2,),
    mean=np.float32(0),
    std=np.float32(1),
  )


@pytest.mark.parametrize('use', ['take', 'subset', 'content_digests'])
@pytest.mark.parametrize(
  'positions, words',
  [
    (np.array([True, False] * 3), 'bool.*flatnonzero'),
    ([0.0, 1.0], 'float64'),
    ([1, -1], r'rows 0..5.*\[-1\]'),
    ([0, 6], r'rows 0..5.*\[6\]'),
    ([[0, 1]], r'\[1, 2\]'),
    (3, 'int64'),
  ],
)
def test_what_is_no_position_is_refused(use, positions, words):
  with pytest.raises(errors.UnknownPosition, match=words):
    getattr(_data(), use)(positions)


@pytest.mark.parametrize('positions', [[], np.zeros(0, bool), (), [2, 0, 2]])
def test_lists_and_nothing_are_positions(positions):
  data = _data()
  assert len(data.take(positions).x) == len(positions)
  assert len(data.subset(positions)) == len(positions)
  assert data.content_digests(positions).shape == (len(positions), 32)


def test_a_thousand_subsets_are_as_good_as_one():
  data = _data()
  for _ in range(3000):
    data = data.subset(np.roll(np.arange(6), 1))
  np.testing.assert_array_equal(data.all().x, _data().all().x)
  data = data.subset([5, 1, 3]).subset([2, 0])
  assert data.ids.tolist() == [30, 50]
  assert data.all().x.tolist() == [[6, 7], [10, 11]]


def test_a_subset_does_not_keep_its_parent_alive():
  whole = _data()
  middle = whole.subset([1, 2, 3])
  part = middle.subset([0])
  gone = [weakref.ref(whole), weakref.ref(middle)]
  del whole, middle
  gc.collect()
  assert [ref() for ref in gone] == [None, None]
  assert part.all().x.tolist() == [[2, 3]]
