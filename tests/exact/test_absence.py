"""Proofs that a token is in no tree: each holds, and none that is forged."""

import copy

import numpy as np
import pytest

from tests.exact import certificates
from unlearn_jax.exact import merkle

verify = certificates.verify
TREES = 200


def tree(rng, n):
  """(tokens, seals, root) of a random tree, and tokens of somebody else."""
  random = [rng.bytes(32) for _ in range(2 * n + 4)]
  # Some of them alike almost to the end, where neighbors are close.
  for i in range(0, len(random) - 1, 5):
    random[i] = random[i + 1][:-1] + bytes([random[i][0]])
  random = list(dict.fromkeys(random))
  named, others = sorted(random[:n]), random[n:]
  sealed = [rng.bytes(32) for _ in named]
  root = merkle.root(merkle.leaves(named, sealed).tobytes())
  return named, sealed, root, others


def accepted(proof, token, root):
  try:
    verify._check_absence(proof, token, root)
  except Exception:  # a stranger's binary refuses whatever goes wrong
    return False
  return True


def test_whoever_is_in_no_tree_is_proven_to_be_in_none():
  rng = np.random.default_rng(0)
  for number in range(TREES):
    named, sealed, root, others = tree(rng, number % 40)
    proofs = merkle.absence(named + others, named, sealed)
    assert proofs[: len(named)] == [None] * len(named)
    for token, proof in zip(others, proofs[len(named) :], strict=True):
      before = sum(name < token for name in named)
      around = [i for i in (before - 1, before) if 0 <= i < len(named)]
      assert [one['at'] for one in proof['neighbors']] == around
      assert proof['count'] == len(named)
      assert accepted(proof, token, root)
      assert not accepted(proof, token, rng.bytes(32))


def test_nobody_who_is_in_a_tree_is_proven_to_be_in_none():
  """All pairs of leaves as neighbors, and each one alone, for every leaf."""
  rng = np.random.default_rng(1)
  for n in range(1, 9):
    named, sealed, root, _ = tree(rng, n)
    gaps = [
      (-1).to_bytes(32, 'big', signed=True),
      bytes(32),
      *(name[:-1] + bytes([name[-1] ^ 1]) for name in named),
    ]
    proofs = merkle.absence(gaps, named, sealed)
    found = {
      one['at']: one for proof in proofs if proof for one in proof['neighbors']
    }
    assert set(found) == set(range(n))
    for token in named:
      for one in found.values():
        assert not accepted({'count': n, 'neighbors': [one]}, token, root)
        for two in found.values():
          pair = {'count': n, 'neighbors': [one, two]}
          assert not accepted(pair, token, root)


@pytest.mark.parametrize('n', [2, 3, 7, 8, 13])
def test_forged_neighbors_are_refused(n):
  rng = np.random.default_rng(n)
  named, sealed, root, _ = tree(rng, n)
  middle = named[n // 2]
  token = middle[:-1] + bytes([middle[-1] ^ 1])
  (proof,) = merkle.absence([token], named, sealed)
  assert accepted(proof, token, root)

  def forged(change):
    other = copy.deepcopy(proof)
    change(other)
    return not accepted(other, token, root)

  for one in proof['neighbors']:
    at = proof['neighbors'].index(one)
    for path in certificates.places(one):
      if path and isinstance(certificates.at(one, path), str):
        where = ('neighbors', at, *path)
        assert forged(lambda p, w=where: _flip(p, w))
    later = one['at'] + 1
    assert forged(lambda p, a=at, n=later: p['neighbors'][a].update(at=n))
    assert forged(lambda p, a=at: p['neighbors'][a]['beside'].append('00' * 32))
    assert forged(lambda p, a=at: p['neighbors'][a]['beside'].pop())
  for count in (n - 1, n + 1, 2 * n, 0, -n, True, float(n), None):
    assert forged(lambda p, c=count: p.update(count=c))
  assert forged(lambda p: p.update(neighbors=[]))
  assert forged(lambda p: p['neighbors'].reverse() or p['neighbors'].pop())
  assert forged(lambda p: p['neighbors'].append(p['neighbors'][0]))


def _flip(value, path):
  text = certificates.at(value, path)
  flipped = ('1' if text[0] == '0' else '0') + text[1:]
  certificates.at(value, path[:-1])[path[-1]] = flipped


def test_an_inner_node_is_no_leaf_and_the_count_is_in_the_root():
  """A tree of two whose leaves are the inner nodes of one of four."""
  rng = np.random.default_rng(3)
  named, sealed, root, _ = tree(rng, 4)
  leaves = merkle.leaves(named, sealed)
  inner = [
    merkle.hashlib.sha256(b'node' + leaves[i : i + 2].tobytes()).digest()
    for i in (0, 2)
  ]
  # As tokens of two leaves, and as the two halves of one.
  for name, seal in ((inner[0], inner[1]), (leaves[0].tobytes(), sealed[0])):
    one = {
      'at': 0,
      'token': name.hex(),
      'seal': seal.hex(),
      'beside': [inner[1].hex()],
    }
    for count in (1, 2, 4):
      proof = {'count': count, 'neighbors': [one]}
      assert not accepted(proof, bytes(32), root)
  # What two fields are made of could be cut elsewhere: 31 bytes and 33.
  (proof,) = merkle.absence([bytes(32)], named, sealed)
  assert accepted(proof, bytes(32), root)
  first = proof['neighbors'][0]
  first['seal'] = first['token'][-2:] + first['seal']
  first['token'] = first['token'][:-2]
  assert not accepted(proof, bytes(32), root)
