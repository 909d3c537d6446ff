"""Merkle trees over examples, and proofs that somebody is in none of them.

A leaf stands for an example by its token, a name that only who holds the key
can make from the id, and by a keyed digest of what else it is. Leaves are
sorted by token: whoever is not in a tree falls between two neighbors, and
these prove it. A root tells the number of its leaves too, or an inner node
could be passed off as a leaf and two distant ones as neighbors.
"""

import bisect
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def tokens(
  key: bytes, names: Iterable[int | str], kind: str = 'id'
) -> list[bytes]:
  """Keyed names of ids, owners or requests: 1 and '1' are two."""
  return [
    hmac.digest(key, repr((kind, name)).encode(), 'sha256') for name in names
  ]


def seals(key: bytes, owners: Sequence, contents: np.ndarray) -> list[bytes]:
  """What stands for owner and content of each example, keyed as well.

  `contents` [n, 32] uint8 are digests. The key is that of a system: without it
  nobody can test whether some example was in it.
  """
  rows, sha256 = contents.tobytes(), hashlib.sha256
  return [
    sha256(b'seal' + key + rows[at : at + 32] + repr(owner).encode()).digest()
    for at, owner in zip(range(0, len(rows), 32), owners, strict=True)
  ]


def leaves(named: Sequence[bytes], sealed: Sequence[bytes]) -> np.ndarray:
  """The leaf of each example, [n, 32] uint8, from its token and its seal."""
  pairs = zip(named, sealed, strict=True)
  hashed = (
    hashlib.sha256(b'leaf' + name + seal).digest() for name, seal in pairs
  )
  return np.frombuffer(b''.join(hashed), np.uint8).reshape(-1, 32)


def root(leaves: bytes) -> bytes:
  """Of leaves that stand one after another, in the order of their tokens.

  Leaves, inner nodes and roots are hashed apart, and an odd last node moves up
  as it is, so no two lists share a root.
  """
  top = hashlib.sha256(b'empty').digest()
  for level in _levels(leaves):
    top = level
  return _rooted(len(leaves) // 32, top)


def of_roots(roots: Sequence[Sequence[bytes]]) -> bytes:
  """One digest of the roots of all slices of all shards."""
  flat = b''.join(b''.join(of_shard) for of_shard in roots)
  return hashlib.sha256(b'roots' + flat).digest()


def absence(
  tokens: Iterable[bytes], named: Sequence[bytes], sealed: Sequence[bytes]
) -> list[dict[str, Any] | None]:
  """Proves of each token that it is none of the sorted `named`.

  As JSON holds it; None for a token that is there. Neighbors come with their
  place, what they are made of and the nodes beside their way to the root.
  """
  levels = list(_levels(leaves(named, sealed).tobytes()))
  return [_absence(token, named, sealed, levels) for token in tokens]


def _absence(token, named, sealed, levels) -> dict[str, Any] | None:
  before = bisect.bisect_left(named, token)
  if before < len(named) and named[before] == token:
    return None
  return {
    'count': len(named),
    'neighbors': [
      {
        'at': at,
        'token': named[at].hex(),
        'seal': sealed[at].hex(),
        'beside': [node.hex() for node in _beside(levels, at)],
      }
      for at in (before - 1, before)
      if 0 <= at < len(named)
    ],
  }


def _levels(level: bytes):
  """From the leaves to the top. A million nodes in one deletion: no more."""
  sha256 = hashlib.sha256
  if level:
    yield level
  while len(level) > 32:
    paired = len(level) - len(level) % 64
    nodes = [
      sha256(b'node' + level[i : i + 64]).digest() for i in range(0, paired, 64)
    ]
    level = b''.join(nodes) + level[paired:]
    yield level


def _beside(levels: Sequence[bytes], at: int):
  for level in levels[:-1]:
    other = at ^ 1
    if other * 32 < len(level):  # an odd last node has none
      yield level[other * 32 : other * 32 + 32]
    at //= 2


def _rooted(count: int, top: bytes) -> bytes:
  return hashlib.sha256(b'root' + count.to_bytes(8, 'big') + top).digest()
