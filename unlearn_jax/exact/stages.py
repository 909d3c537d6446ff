"""Stages and their names: the one idea of the exact engine.

A stage is one training run of a shard on an ordered prefix of slices. Its name
is the hash of everything it is a function of. Deleting an example therefore
changes the names of the stages that saw it: they are gone, at once, and
nothing else is touched. Two sequences with a common prefix share its stages,
because these have the same name.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple


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


def name(recipe: bytes, stage: Stage, roots: Sequence[Sequence[bytes]]) -> str:
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
