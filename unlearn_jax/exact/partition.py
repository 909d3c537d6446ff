"""Where an example goes: a keyed hash of its owner, and nothing else.

All rows of an owner land together. Nothing depends on how many rows there are
or on other ids, so adding or deleting an example moves no other one.

The coins are public: key and seeds are part of the recipe and never drawn
again. So what a system becomes is a function of who is left, also when people
ask because of what it answered: models give away who stands in which shard, and
requests that use this change nothing but the set of survivors. A fresh build
by the same recipe on them is what the system is compared with. It is not
compared with one of fresh, secret coins, and would lose: whoever empties one
shard by its answers leaves shards of uneven size, which such coins hardly ever
make. Public places can also be aimed at, to make deletions expensive or a shard
poor: ids that people can choose are better replaced by random ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unlearn_jax import errors, keys


def place(
  owners: np.ndarray,
  *,
  shards: int,
  slices: int,
  salt: str = '',
  prior: Mapping[str, Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """(shard, slice) of each owner, [n] int32 each.

  Args:
    owners: [n]; an example without an owner is its own.
    shards: number of shards.
    slices: number of slices of each.
    salt: public; another one is another placement.
    prior: how probable it is that an owner asks for deletion, when that is
      publicly known: `{'probability': {owner: p}, 'otherwise': p, 'edges':
      [...]}`. The slices - 1 rising edges cut probabilities into slices, so
      those who will probably leave share slices that sequences can put last.
      The shard stays a hash. A prior is part of the recipe, names included, and
      stays there when they leave: what must not be public is no prior.
  """
  hashed = keys.hash_ids(owners, f'{salt}/place')
  shard = (hashed % np.uint64(shards)).astype(np.int32)
  if prior is None:
    part = hashed // np.uint64(shards) % np.uint64(slices)
    return shard, part.astype(np.int32)
  return shard, _by_prior(owners, **_checked(prior, slices))


def _by_prior(
  owners: np.ndarray,
  probability: Mapping[str, float],
  otherwise: float,
  edges: Sequence[float],
) -> np.ndarray:
  # Names as text: JSON, where priors are kept, has no other keys.
  p = [probability.get(str(owner), otherwise) for owner in owners.tolist()]
  return np.searchsorted(edges, p, side='right').astype(np.int32)


def _checked(prior: Mapping[str, Any], slices: int) -> dict[str, Any]:
  fields = ('probability', 'otherwise', 'edges')
  for name in prior:
    errors.check_choice('field of a prior', name, fields)
  missing = [name for name in fields if name not in prior]
  if missing:
    raise errors.ConfigError(f'a prior needs {", ".join(missing)}')
  named = prior['probability']
  if not isinstance(named, Mapping):
    raise errors.ConfigError(
      f'the probability of a prior is {{owner: p}}, got {named!r}'
    )
  edges = list(prior['edges'])
  wrong = [
    p
    for p in (*named.values(), prior['otherwise'], *edges)
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1
  ]
  if wrong:
    raise errors.ConfigError(
      f'probabilities and edges are numbers in [0, 1], got {wrong[:3]}'
    )
  if len(edges) != slices - 1 or edges != sorted(set(edges)):
    raise errors.ConfigError(
      f'a prior for {slices} slices needs {slices - 1} rising edges, got {edges}'
    )
  return {
    'probability': {str(owner): p for owner, p in named.items()},
    'otherwise': prior['otherwise'],
    'edges': edges,
  }
