import jax
import numpy as np
import pytest

from unlearn_jax import augment, errors, keys


def _images(n=64):
  return np.random.default_rng(0).normal(size=(n, 6, 6, 1)).astype(np.float32)


def _keys(n=64):
  return keys.rows(keys.root(0), keys.id_words(np.arange(n)))


def test_shift_moves_and_fills_with_zeros():
  image = np.zeros((64, 6, 6, 1), np.float32)
  image[:, 3, 3] = 1
  moved = augment.make({'shift': 2})(_keys(), image)
  places = {tuple(np.argwhere(np.asarray(m))[0][:2]) for m in moved}
  assert (np.asarray(moved).sum(axis=(1, 2, 3)) == 1).all()
  assert {p[0] for p in places} == {p[1] for p in places} == {1, 2, 3, 4, 5}


def test_flip_mirrors_about_half():
  x = _images()
  flipped = np.asarray(augment.make({'flip': True})(_keys(), x))
  same = (flipped == x).all(axis=(1, 2, 3))
  mirrored = (flipped == x[:, :, ::-1]).all(axis=(1, 2, 3))
  assert (same | mirrored).all() and 15 < same.sum() < 49


def test_what_happens_to_an_example_is_its_own():
  change = jax.jit(augment.make({'shift': 2, 'flip': True}))
  x, row_keys = _images(), _keys()
  forward, backward = change(row_keys, x), change(row_keys[::-1], x[::-1])
  assert (forward == backward[::-1]).all()


def test_nothing_asked_is_none_and_wrong_names_are_refused():
  assert augment.make({}) is None
  assert augment.make({'shift': 0, 'flip': False}) is None
  with pytest.raises(errors.UnknownName, match="'rotate'.*shift"):
    augment.make({'rotate': 1})


def test_the_order_of_the_options_does_not_matter():
  one = augment.make({'shift': 2, 'flip': True})(_keys(), _images())
  other = augment.make({'flip': True, 'shift': 2})(_keys(), _images())
  assert (one == other).all()
  flipped = augment.make({'flip': True})(_keys(), _images())
  assert (augment.make({'shift': 2})(_keys(), flipped) == one).all()


@pytest.mark.parametrize(
  'options, words',
  [
    ({'shift': -1}, 'shift is a whole number.*-1'),
    ({'shift': 1.5}, 'shift is a whole number.*1.5'),
    ({'shift': True}, 'shift is a whole number.*True'),
    ({'flip': 1}, 'flip is True or False, got 1'),
    ({'flip': 'no'}, "flip is True or False, got 'no'"),
  ],
)
def test_values_are_checked(options, words):
  with pytest.raises(errors.ConfigError, match=words):
    augment.make(options)
