"""The examples a system may use, and where each of them stands.

Everything is an array over records, sorted by nothing but admission; deleting
flips one flag. Merkle roots of the slices that changed are made again when
they are asked for.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from unlearn_jax import errors, keys, types
from unlearn_jax.exact import merkle, partition, stages
from unlearn_jax.exact import recipe as recipe_lib


class Records:
  """Ids, owners, placement and leaves of the admitted examples."""

  def __init__(
    self,
    recipe: recipe_lib.Recipe,
    salt: bytes,
    ids: np.ndarray,
    owners: np.ndarray,
    contents: np.ndarray,
  ):
    """`contents` [n, 32] uint8 are the content digests."""
    self._recipe, self._salt = recipe, salt
    self.ids, self.owners, self.contents = ids, owners, contents
    self.alive = np.ones(len(ids), bool)
    self.shard, self.slice = partition.place(
      owners, shards=recipe.shards, slices=recipe.slices, **recipe.placement
    )
    self._by_place = self._sorted()
    self._order = np.argsort(ids, kind='stable')
    self._roots: dict[tuple[int, int], bytes] = {}

  def __len__(self) -> int:
    return len(self.ids)

  def joined(
    self, ids: np.ndarray, owners: np.ndarray, contents: np.ndarray
  ) -> 'Records':
    """The survivors and some more."""
    alive = self.alive
    return Records(
      self._recipe,
      self._salt,
      np.concatenate([self.ids[alive], ids]),
      np.concatenate([self.owners[alive], owners]),
      np.concatenate([self.contents[alive], contents]),
    )

  def find(self, ids: np.ndarray) -> np.ndarray:
    """Positions of `ids`; an unknown one refuses them all, by name."""
    ids = np.asarray(ids)
    if not len(ids):
      return np.zeros(0, np.int64)
    if ids.dtype.kind != self.ids.dtype.kind or not len(self):
      raise errors.UnknownId(
        f'ids of this system are {self.ids.dtype}, got {ids[:5].tolist()}'
      )
    at = np.searchsorted(self.ids, ids, sorter=self._order)
    found = self._order[np.minimum(at, len(self) - 1)]
    wrong = ids[self.ids[found] != ids]
    if wrong.size:
      raise errors.UnknownId(
        f'{wrong.size} id(s) are not in this system: {wrong[:5].tolist()}'
      )
    return found

  def of_owners(self, owners: np.ndarray) -> np.ndarray:
    """Living rows of `owners`; one who has none refuses them all."""
    owners = np.unique(np.asarray(owners))
    same_kind = owners.dtype.kind == self.owners.dtype.kind
    known = np.isin(owners, self.owners[self.alive]) & same_kind
    if not known.all():
      wrong = owners[~known]
      raise errors.UnknownId(
        f'{wrong.size} owner(s) are not in this system: {wrong[:5].tolist()}'
      )
    return np.flatnonzero(self.alive & np.isin(self.owners, owners))

  def set_alive(self, positions: np.ndarray, alive: bool) -> set:
    """Flips records; returns the (shard, slice) pairs that changed."""
    changed = positions[self.alive[positions] != alive]
    self.alive[changed] = alive
    parts = self._recipe.slices
    places = np.bincount(self.shard[changed] * parts + self.slice[changed])
    touched = {
      divmod(place, parts) for place in np.flatnonzero(places).tolist()
    }
    for place in touched:
      self._roots.pop(place, None)
    return touched

  def roots(self) -> list[list[bytes]]:
    """[shards][slices] Merkle roots of the surviving examples."""
    for shard in range(self._recipe.shards):
      for part in range(self._recipe.slices):
        if (shard, part) not in self._roots:
          where, leaves = self._by_place[shard, part]
          left = leaves[self.alive[where]]
          self._roots[shard, part] = merkle.root(left.tobytes())
    return [
      [self._roots[shard, part] for part in range(self._recipe.slices)]
      for shard in range(self._recipe.shards)
    ]

  def survivors(self, shard: int) -> np.ndarray:
    """Positions of a shard's surviving records, in keyed-hash order.

    The order is that of the ids, so it does not depend on when a record came.
    """
    chosen = np.flatnonzero(self.alive & (self.shard == shard))
    return chosen[keys.order(self.ids[chosen], 'shard')]

  def counts(self) -> np.ndarray:
    """[shards, slices] surviving records."""
    counts = np.zeros((self._recipe.shards, self._recipe.slices), np.int64)
    alive = self.alive
    np.add.at(counts, (self.shard[alive], self.slice[alive]), 1)
    return counts

  def work(self, wanted: Iterable[stages.Stage]) -> dict[stages.Stage, int]:
    """Rows that an epoch of each stage passes over; at least one."""
    counts = self.counts()
    return {
      stage: max(1, int(counts[stage.shard, list(stage.prefix)].sum()))
      for stage in wanted
    }

  def check(self, data: types.Dataset) -> np.ndarray:
    """Positions in `data` of the surviving records, all -1 for the others.

    A survivor that is missing or has other content is an error that names it.
    """
    where = np.full(len(self), -1, np.int64)
    alive = np.flatnonzero(self.alive)
    where[alive] = data.positions_of(self.ids[alive])
    found = data.content_digests(where[alive])
    wrong = (found != self.contents[alive]).any(axis=1)
    if wrong.any():
      raise errors.DataError(
        f'{wrong.sum()} example(s) of {data.name} are not what was admitted: '
        f'{self.ids[alive][wrong][:5].tolist()}'
      )
    return where

  def absence(
    self, tokens: Sequence[bytes]
  ) -> list[list[list[dict[str, Any] | None]]]:
    """[tokens][shards][slices] proofs that no survivor has a token.

    None where one has. Of every slice: who came back for another owner stands
    in another one than before.
    """
    shards, slices = self._recipe.shards, self._recipe.slices
    proofs = {}
    for place, (where, _) in self._by_place.items():
      left = where[self.alive[where]]
      proofs[place] = merkle.absence(tokens, *self._named(left))
    return [
      [[proofs[s, part][at] for part in range(slices)] for s in range(shards)]
      for at in range(len(tokens))
    ]

  def _named(self, at: np.ndarray) -> tuple[list[bytes], list[bytes]]:
    """Tokens and seals of the records at these positions."""
    named = merkle.tokens(self._salt, self.ids[at].tolist())
    owners = self.owners[at].tolist()
    return named, merkle.seals(self._salt, owners, self.contents[at])

  def _sorted(self) -> dict[tuple[int, int], tuple]:
    """{(shard, slice): (positions, their leaves)}, in the order of tokens.

    Sorted once: whoever survives a deletion is in order already.
    """
    shards, slices = self._recipe.shards, self._recipe.slices
    place = self.shard * slices + self.slice
    named, sealed = self._named(np.arange(len(self)))
    leaves = merkle.leaves(named, sealed)
    tokens = np.frombuffer(b''.join(named), np.uint8).reshape(-1, 32)
    order = _order_of_bytes(tokens)
    order = order[np.argsort(place[order], kind='stable')]
    ends = np.searchsorted(place[order], np.arange(1, shards * slices))
    parts = zip(
      np.split(order, ends), np.split(leaves[order], ends), strict=True
    )
    return {divmod(at, slices): part for at, part in enumerate(parts)}


def _order_of_bytes(rows: np.ndarray) -> np.ndarray:
  """The permutation that sorts digests [n, 32] as bytes are sorted."""
  words = rows.view('>u8').astype(np.uint64)
  order = np.argsort(words[:, 0])
  first = words[order, 0]
  if (first[1:] == first[:-1]).any():  # rare: one word in four decides
    return np.lexsort(words.T[::-1])
  return order
