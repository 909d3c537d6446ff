"""Random streams by name and index, never by the order of calls.

Two kinds live here: typed JAX keys for what happens inside a program, and
keyed 64-bit hashes of example ids for what is decided on the host (placement,
order, splits). Both are functions of the named things alone, so adding or
deleting an example moves no other.
"""

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors

_MASK = 0xFFFFFFFF


def root(seed: int) -> jax.Array:
  """The typed key that all streams of a run come from.

  Seeds are 32 bits: of a larger or negative one jax would drop bits without a
  word, so two seeds could be one run.
  """
  if isinstance(seed, int | np.integer) and not 0 <= seed <= _MASK:
    raise errors.ConfigError(f'a seed is between 0 and {_MASK}, got {seed}')
  return jax.random.key(seed)


def stream(key: jax.Array, name: str, *indices) -> jax.Array:
  """The key of stream `name`, at `indices` (integers, traced ones too)."""
  key = jax.random.fold_in(key, _name_word(name))
  for index in indices:
    if isinstance(index, np.integer):
      index = int(index)
    if isinstance(index, int) and not 0 <= index <= _MASK:
      # Two words, with a mark between: no shorter index can collide.
      index = index % 2**64
      key = jax.random.fold_in(key, index >> 32)
      key = jax.random.fold_in(key, _name_word('high word'))
      index = index & _MASK
    key = jax.random.fold_in(key, index)
  return key


def rows(key: jax.Array, id_words: jax.Array) -> jax.Array:
  """One key per row, [n], from `id_words` [n, 2]: an example's own stream."""

  def fold(words):
    return jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1])

  return jax.vmap(fold)(id_words)


def id_words(ids: np.ndarray) -> np.ndarray:
  """[n, 2] uint32 names of `ids`, to be folded into keys on the device."""
  hashed = hash_ids(ids, 'id words')
  high = (hashed >> np.uint64(32)).astype(np.uint32)
  return np.stack([high, hashed.astype(np.uint32)], axis=-1)


def hash_ids(ids: np.ndarray, salt: str) -> np.ndarray:
  """Keyed 64-bit hash of each id, [n] uint64, a function of that id alone.

  Integers are mixed in one vectorized pass (a million take milliseconds);
  strings go through BLAKE2b one by one. The salt is public: this spreads and
  shuffles, it hides nothing.
  """
  return _hash_many(np.asarray(ids), [salt])[0]


def order(ids: np.ndarray, salt: str) -> np.ndarray:
  """The permutation that puts `ids` in keyed-hash order.

  Survivors of a deletion keep their relative order. Ties (of 64-bit hashes)
  are broken by the id, never by the position.
  """
  return orders(ids, [salt])[0]


def orders(ids: np.ndarray, salts: Sequence[str]) -> np.ndarray:
  """[len(salts), n] the `order` of each salt, all in one pass."""
  ids = np.asarray(ids)
  hashed = _hash_many(ids, salts)
  found = np.argsort(hashed, axis=1)
  ranked = np.take_along_axis(hashed, found, axis=1)
  for tied in np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1)):
    found[tied] = np.lexsort((ids, hashed[tied]))
  return found


def fraction(ids: np.ndarray, salt: str) -> np.ndarray:
  """A keyed number in [0, 1) for each id: public splits that never move."""
  return (hash_ids(ids, salt) >> np.uint64(11)) * 2.0**-53


def shuffle(key: jax.Array, n: int, rounds: int = 24) -> jax.Array:
  """A permutation of range(n) as int32, inside a program and without a sort.

  In each round a random reflection pairs the numbers off, and a hash of the
  pair decides whether its two change places ("swap or not", Hoang, Morris and
  Rogaway, 2012). Sorting random numbers took half the time of a small model.
  """
  draws = jax.random.bits(key, (rounds, 2))

  def one_round(i, x):
    middle, salt = draws[i, 0] % n, draws[i, 1]
    other = jnp.where(x <= middle, middle - x, middle + n - x)
    h = jnp.maximum(x, other) ^ salt
    for constant in (0x85EBCA6B, 0xC2B2AE35):  # the finalizer of MurmurHash3
      h = (h ^ (h >> 15)) * jnp.uint32(constant)
    return jnp.where((h ^ (h >> 16)) & 1, other, x)

  start = jnp.arange(n, dtype=jnp.uint32)
  return jax.lax.fori_loop(0, rounds, one_round, start).astype(jnp.int32)


def _hash_many(ids: np.ndarray, salts: Sequence[str]) -> np.ndarray:
  """[len(salts), n] uint64."""
  if ids.dtype.kind in 'iu':
    # Two rounds with independent words of the salt, so that related salts or
    # sequential ids do not give related hashes.
    words = b''.join(_blake(f'{salt}/{i}') for salt in salts for i in range(2))
    words = np.frombuffer(words, '<u8').astype(np.uint64).reshape(-1, 2, 1)
    return _mix(_mix(ids.astype(np.uint64) ^ words[:, 0]) ^ words[:, 1])
  if ids.dtype.kind in 'UO':
    names = [str(name) for name in ids]
    hashed = (_blake(name, key) for key in map(_blake, salts) for name in names)
    found = np.frombuffer(b''.join(hashed), '<u8').astype(np.uint64)
    return found.reshape(len(salts), len(ids))
  raise TypeError(f'ids are integers or strings, got {ids.dtype}')


def _mix(z: np.ndarray) -> np.ndarray:
  """The SplitMix64 step: a bijection of 64-bit words with full avalanche."""
  with np.errstate(over='ignore'):
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _blake(text: str, key: bytes = b'') -> bytes:
  return hashlib.blake2b(text.encode(), digest_size=8, key=key).digest()


def _name_word(name: str) -> int:
  return int.from_bytes(_blake(name)[:4], 'little')
