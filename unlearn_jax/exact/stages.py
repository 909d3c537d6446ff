"""Stages and their names: the one idea of the exact engine.

A stage is one training run of a shard on an ordered prefix of slices. Its name
is the hash of everything it is a function of. Deleting an example therefore
changes the names of the stages that saw it: they are gone, at once, and
nothing else is touched. Two sequences with a common prefix share its stages,
because these have the same name.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Stage(NamedTuple):
  """A shard and the slices it has seen, in order; 0-based."""

  shard: int
  prefix: tuple[int, ...]

  @property
  def parent(self) -> 'Stage | None':
    """The stage this one goes on from; none for the first."""
    shorter = self.prefix[:-1]
    return Stage(self.shard, shorter) if shorter else None

  @property
  def depth(self) -> int:
    return len(self.prefix)

  def __str__(self) -> str:
    return f'{self.shard}:{"-".join(map(str, self.prefix))}'


def wanted(
  shards: int, sequences: Sequence[Sequence[int]]
) -> tuple[Stage, ...]:
  """Every stage of a system, each once, parents before children."""
  prefixes = {
    tuple(order[:depth])
    for order in sequences
    for depth in range(1, len(order) + 1)
  }
  in_order = sorted(prefixes, key=lambda prefix: (len(prefix), prefix))
  return tuple(
    Stage(shard, prefix) for prefix in in_order for shard in range(shards)
  )


def leaf(salt: bytes, name: int | str, content: bytes) -> bytes:
  """What stands for an example in a Merkle tree: salted id and content.

  The salt belongs to the system: without it nobody can test whether some
  example was in it.
  """
  return hashlib.sha256(b'leaf' + salt + _id_bytes(name) + content).digest()


def leaves(salt: bytes, ids: np.ndarray, contents: np.ndarray) -> np.ndarray:
  """The leaf of each example, [n, 32] uint8; `contents` are like that too."""
  rows = contents.tobytes()
  hashed = (
    leaf(salt, name, rows[32 * i : 32 * i + 32])
    for i, name in enumerate(ids.tolist())
  )
  return np.frombuffer(b''.join(hashed), np.uint8).reshape(-1, 32)


def root(leaves: Iterable[bytes]) -> bytes:
  """Merkle root of a set of leaves, whatever order they come in.

  Leaves and inner nodes are hashed apart, and an odd last node moves up as it
  is, so no two sets share a tree.
  """
  return sorted_root(b''.join(sorted(leaves)))


def sorted_root(level: bytes) -> bytes:
  """The same of leaves that stand one after another, sorted as bytes are.

  A million nodes are hashed here in one deletion: nothing but that is done.
  """
  if not level:
    return hashlib.sha256(b'empty').digest()
  sha256 = hashlib.sha256
  while len(level) > 32:
    paired = len(level) - len(level) % 64
    nodes = [
      sha256(b'node' + level[i : i + 64]).digest() for i in range(0, paired, 64)
    ]
    level = b''.join(nodes) + level[paired:]
  return level


def name(recipe: bytes, stage: Stage, roots: np.ndarray) -> str:
  """The stage's name, in hex.

  Args:
    recipe: digest of the recipe.
    stage: which.
    roots: [shards, slices] Merkle roots of the surviving examples.
  """
  h = hashlib.sha256(b'stage' + recipe + stage.shard.to_bytes(4, 'big'))
  for part in stage.prefix:
    h.update(part.to_bytes(4, 'big') + roots[stage.shard][part])
  return h.hexdigest()


def _id_bytes(name: int | str) -> bytes:
  """Unambiguous: 1 and '1' are two ids, and no id is a prefix of another."""
  if isinstance(name, str):
    text = name.encode()
    return b's' + len(text).to_bytes(8, 'big') + text
  return b'i' + int(name).to_bytes(8, 'big', signed=True)
