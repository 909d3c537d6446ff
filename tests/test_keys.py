import jax
import numpy as np
import pytest
from scipy import stats

from unlearn_jax import errors, keys


def _bits(key):
  return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def test_streams_differ_by_name_and_every_index():
  root = keys.root(0)
  streams = [
    keys.stream(root, 'a'),
    keys.stream(root, 'b'),
    keys.stream(root, 'a', 0),
    keys.stream(root, 'a', 0, 0),
    keys.stream(root, 'a', 1),
    keys.stream(root, 'a', 2**32),
    keys.stream(root, 'a', 2**32 + 1),
    keys.stream(root, 'a', 1, 1),
    keys.stream(root, 'a', -1),
    keys.stream(keys.root(1), 'a'),
  ]
  assert len({_bits(key) for key in streams}) == len(streams)


def test_a_stream_is_the_same_traced_or_not():
  root = keys.root(3)
  traced = jax.jit(lambda i: keys.stream(root, 'step', i))(7)
  assert _bits(traced) == _bits(keys.stream(root, 'step', 7))


def test_hashes_are_those_of_the_first_release():
  # Placement and order of every trained system hang on these numbers: if this
  # fails, old work directories no longer mean what they meant.
  assert keys.hash_ids(np.array([0, 1, -1]), 'salt').tolist() == [
    13326603259568972481,
    18435399999212856433,
    5667777275273353740,
  ]
  assert keys.hash_ids(np.array(['a', 'b']), 'salt').tolist() == [
    8814523281206596670,
    10051009007377053887,
  ]


@pytest.mark.parametrize('kind', [int, str])
def test_a_hash_depends_on_its_own_id_alone(kind):
  ids = np.array([kind(i) for i in range(1000)])
  whole = keys.hash_ids(ids, 's')
  assert (keys.hash_ids(ids[::-3], 's') == whole[::-3]).all()
  assert len(np.unique(whole)) == len(ids)
  assert (keys.hash_ids(ids, 't') != whole).all()


def test_sequential_ids_spread_evenly():
  ids = np.arange(100_000)
  for salt in ('a', 'b'):
    counts = np.bincount(keys.hash_ids(ids, salt) % np.uint64(20))
    expected = len(ids) / 20
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 43.8  # 99.9 % of a chi-squared with 19 degrees
  fractions = [keys.fraction(ids, salt) for salt in ('a', 'b')]
  assert abs(np.corrcoef(*fractions)[0, 1]) < 0.02
  assert fractions[0].min() >= 0 and fractions[0].max() < 1


def test_survivors_keep_their_order():
  ids = np.arange(500)
  kept = ids[ids % 7 != 0]
  before = ids[keys.order(ids, 'e')]
  after = kept[keys.order(kept, 'e')]
  assert (before[before % 7 != 0] == after).all()
  # Nor does it matter where in the file they stand.
  shuffled = np.random.default_rng(0).permutation(kept)
  assert (shuffled[keys.order(shuffled, 'e')] == after).all()


def test_rows_have_keys_of_their_own():
  words = keys.id_words(np.arange(64))
  found = keys.rows(keys.root(0), words)
  assert len({_bits(key) for key in found}) == 64
  again = keys.rows(keys.root(0), words[::-1])
  assert _bits(again[0]) == _bits(found[-1])


def test_ids_of_another_type_are_refused():
  with pytest.raises(TypeError, match='float64'):
    keys.hash_ids(np.array([0.5]), 's')


@pytest.mark.parametrize('seed', [-1, 2**32, np.int64(-1), 2**64])
def test_seeds_are_32_bits(seed):
  with pytest.raises(errors.ConfigError, match='between 0 and 4294967295'):
    keys.root(seed)


def test_streams_are_those_of_the_first_release():
  found = [
    keys.stream(keys.root(0), 'a'),
    keys.stream(keys.root(2**32 - 1), 'a', 5),
    keys.stream(keys.root(0), 'a', 2**32 + 1),
    keys.stream(keys.root(0), 'a', -1),
  ]
  assert [_bits(key) for key in found] == [
    (667741459, 1184103848),
    (325793163, 1573133113),
    (53965362, 3132186708),
    (873091448, 1407196781),
  ]


@pytest.mark.parametrize('index', [0, 7, 2**32 - 1, 2**32, 2**40 + 3, -1])
def test_an_index_of_numpy_is_that_of_python(index):
  root = keys.root(0)
  expected = _bits(keys.stream(root, 'a', index))
  assert _bits(keys.stream(root, 'a', np.int64(index))) == expected
  if 0 <= index < 2**32:
    assert _bits(keys.stream(root, 'a', np.uint32(index))) == expected


@pytest.mark.parametrize('kind', [int, str])
def test_ties_of_hashes_are_broken_by_the_id(monkeypatch, kind):
  monkeypatch.setattr(
    keys, '_hash_many', lambda ids, salts: np.zeros((len(salts), len(ids)))
  )
  ids = np.array([kind(i) for i in (3, 1, 2)])
  assert ids[keys.order(ids, 's')].tolist() == sorted(ids.tolist())


@pytest.mark.parametrize('kind', [int, str])
def test_many_orders_at_once_are_the_orders_one_by_one(kind):
  ids = np.array([kind(i) for i in (7, 3, 1, 2, 11)])
  many = keys.orders(ids, ['a', 'b'])
  assert (many == [keys.order(ids, salt) for salt in 'ab']).all()
  assert (many[0] != many[1]).any()
  assert keys.orders(ids[:0], ['a', 'b']).shape == (2, 0)


@pytest.mark.parametrize('n', [1, 2, 3, 21, 400])
def test_a_shuffle_is_a_permutation(n):
  found = np.asarray(keys.shuffle(keys.root(1), n))
  assert sorted(found.tolist()) == list(range(n))
  if n > 20:
    other = np.asarray(keys.shuffle(keys.root(2), n))
    assert (found != other).mean() > 0.8


def test_every_order_of_a_shuffle_is_as_likely_as_another():
  many = jax.random.split(keys.root(0), 24_000)
  found = np.asarray(jax.vmap(lambda key: keys.shuffle(key, 4))(many))
  _, counts = np.unique(found, axis=0, return_counts=True)
  assert len(counts) == 24
  assert stats.chisquare(counts).pvalue > 1e-3
  # Of many rows: where a row goes, and who comes after it.
  found = np.asarray(jax.vmap(lambda key: keys.shuffle(key, 50))(many[:10_000]))
  for seen in (found[:, 7], (found[:, 8] - found[:, 7]) % 50):
    counts = np.bincount(seen, minlength=50)
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3
