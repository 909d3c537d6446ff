"""Records, store and ledger, kept fast: the answers of the slow, plain way."""

import hashlib
import hmac

import numpy as np
import pytest

from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import stages
from unlearn_jax.exact import store as store_lib

SALT = b's' * 32


def _plain_root(examples):
  """Of (id, owner, content), by lists."""

  def sha(*parts):
    return hashlib.sha256(b''.join(parts)).digest()

  def token(name):
    return hmac.new(SALT, repr(('id', name)).encode(), 'sha256').digest()

  level = [
    sha(b'leaf', name, sha(b'seal', SALT, content, repr(owner).encode()))
    for name, owner, content in sorted((token(i), o, c) for i, o, c in examples)
  ]
  count = len(level).to_bytes(8, 'big')
  while len(level) > 1:
    odd = level[len(level) - len(level) % 2 :]
    halves = zip(level[::2], level[1::2], strict=False)
    level = [sha(b'node', left, right) for left, right in halves] + odd
  return sha(b'root', count, level[0] if level else sha(b'empty'))


@pytest.mark.parametrize('texts', [False, True])
@pytest.mark.parametrize('n', [0, 1, 7, 300])
def test_roots_are_those_of_the_survivors_in_any_order(n, texts):
  rng = np.random.default_rng(n)
  ids = rng.choice(10**6, n, replace=False) - 1000
  ids = np.array([f'é{i}' for i in ids], str) if texts else ids
  contents = rng.integers(0, 256, (n, 32), np.uint8)
  recipe = recipe_lib.Recipe(data={}, model={}, shards=2, slices=3)
  records = records_lib.Records(recipe, SALT, ids, ids, contents)
  for _ in range(3):
    for shard, roots in enumerate(records.roots()):
      for part, root in enumerate(roots):
        here = (records.shard == shard) & (records.slice == part)
        left = np.flatnonzero(here & records.alive)
        assert root == _plain_root(
          [(ids[i].item(), ids[i].item(), contents[i].tobytes()) for i in left]
        )
    leaving = rng.permutation(n)[: n // 3]
    places = zip(records.shard[leaving], records.slice[leaving], strict=True)
    expected = {
      place
      for place, alive in zip(places, records.alive[leaving], strict=True)
      if alive
    }
    assert records.set_alive(leaving, False) == expected


def test_digests_with_equal_beginnings_and_ends_are_sorted_as_bytes():
  rng = np.random.default_rng(0)
  rows = rng.integers(0, 2, (500, 32), np.uint8)
  rows[:, :8] = rows[:, 30:] = 0
  order = records_lib._order_of_bytes(rows)
  assert [bytes(row) for row in rows[order]] == sorted(map(bytes, rows))


def test_the_store_sees_what_comes_and_goes(tmp_path):
  store = store_lib.Store(tmp_path / 'stages')
  other = store_lib.Store(tmp_path / 'stages')
  assert store.names() == set()
  for name in ('a', 'b'):
    tree = {'w': np.zeros(3, np.float32)}
    store.save(name, stages.Stage(0, (0,)), tree, {})
  (tmp_path / 'stages' / 'no stage').mkdir()
  assert store.names() == other.names() == {'a', 'b'}
  other.remove('a')
  assert store.names() == other.names() == {'b'}
  store.names().add('mine')
  assert store.names() == {'b'}


def test_the_ledger_knows_many_deleted_ids_at_once(tmp_path):
  ledger = ledger_lib.Ledger(tmp_path / 'ledger', SALT, create=True)
  ids = np.arange(1203)
  ledger.admit(ids, ids, np.zeros((len(ids), 32), np.uint8), {})
  gone = list(range(0, 1203, 2))
  places = [(0, 0)] * len(gone)
  request = ledger_lib.Deletion(gone, places, [], None, b'', {})
  assert ledger.delete([request], {}) == [2]
  ledger.check()
  asked = [*range(1203), 0, 5000]
  expected = [i % 2 == 0 and i < 1203 for i in asked]
  assert ledger.was_deleted(asked).tolist() == expected
  assert ledger.was_deleted([]).tolist() == []
  ledger.close()
