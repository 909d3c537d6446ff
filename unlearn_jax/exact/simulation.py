"""Streams of deletion requests over the bookkeeping of a system, no training.

A stream is one history of a system: each request hits one slice of one shard,
and a shard is its set of hit slices. All streams advance together, one
request at a time, as arrays [streams, shards] of bit sets.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from unlearn_jax import errors
from unlearn_jax.exact import hit_sets, stages

_NORMAL_95 = 1.959964


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lifetime:
  """Requests until all shards are dead.

  `low` and `high` bound the mean with 95 % confidence; `sd` is that of one
  stream; `lived` [streams] holds every one.
  """

  mean: float
  sd: float
  low: float
  high: float
  lived: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves:
  """What is served after 0, 1, .. requests; means over streams.

  depth: [requests + 1] live length over L, averaged over shards, dead as 0.
  dead: [requests + 1] fraction of streams in which every shard is dead.
  """

  depth: np.ndarray
  dead: np.ndarray


def lifetime(
  sequences: Sequence[Sequence[int]],
  *,
  shards: int,
  streams: int = 10_000,
  prior: Sequence[float] | np.ndarray | None = None,
  records: int | None = None,
  seed: int = 0,
) -> Lifetime:
  """How many requests a system serves without repair.

  Args:
    sequences: the orders of every shard.
    shards: m.
    streams: independent histories, at least 2.
    prior: [L] or [shards, L] weights of the slices; None is uniform.
    records: in each slice, none deleted twice; None draws with replacement.
    seed: of all streams.
  """
  slices = len(sequences[0])
  requests = _Requests(shards, slices, streams, prior, records, seed)
  starts = sorted({order[0] for order in sequences})
  if not requests.weights.reshape(shards, slices)[:, starts].all():
    raise errors.ConfigError(
      f'prior {prior}: 0 for one of the first slices {starts}, so that the '
      f'system never dies'
    )
  # A shard is dead once all its first slices are hit.
  first = hit_sets.prefix_masks(starts)[-1]
  left = np.full(streams, shards * len(starts))
  hits = np.zeros((streams, shards), np.uint64)
  lived = np.zeros(streams, np.int64)
  alive = np.arange(streams)
  number = 0
  while alive.size:
    number += 1
    shard, bit = requests.draw()
    before = _hit(hits, shard, bit)
    left -= (bit & first & ~before) != 0
    if not left.all():
      lived[alive[left == 0]] = number
      keep = left > 0
      alive, hits, left = alive[keep], hits[keep], left[keep]
      requests.keep(keep)
  mean, sd = lived.mean(), lived.std(ddof=1)
  half = _NORMAL_95 * sd / np.sqrt(streams)
  return Lifetime(
    mean=float(mean),
    sd=float(sd),
    low=float(mean - half),
    high=float(mean + half),
    lived=lived,
  )


def curves(
  sequences: Sequence[Sequence[int]],
  *,
  shards: int,
  requests: int,
  streams: int = 1000,
  prior: Sequence[float] | np.ndarray | None = None,
  records: int | None = None,
  repair_every: int | None = None,
  seed: int = 0,
) -> Curves:
  """Served depth and dead fraction over `requests`; arguments of `lifetime`.

  With `repair_every` = c every c-th request is followed by a repair of
  everything; the curves show the moment before it.
  """
  slices = len(sequences[0])
  source = _Requests(shards, slices, streams, prior, records, seed)
  source.check(requests)
  hits = np.zeros((streams, shards), np.uint64)
  lengths = np.full((streams, shards), slices)
  rows = np.arange(streams)
  depth, dead = [1.0], [0.0]
  for number in range(1, requests + 1):
    shard, bit = source.draw()
    _hit(hits, shard, bit)
    lengths[rows, shard] = hit_sets.live_lengths(sequences, hits[rows, shard])
    depth.append(lengths.mean() / slices)
    dead.append((~lengths.any(axis=1)).mean())
    if repair_every and number % repair_every == 0:
      hits[:] = 0
      lengths[:] = slices
  return Curves(depth=np.array(depth), dead=np.array(dead))


def hit_masks(
  *,
  shards: int,
  slices: int,
  requests: int,
  streams: int,
  prior: Sequence[float] | np.ndarray | None = None,
  records: int | None = None,
  seed: int = 0,
) -> np.ndarray:
  """[streams, shards] uint64 sets of hit slices after a batch of requests."""
  source = _Requests(shards, slices, streams, prior, records, seed)
  source.check(requests)
  hits = np.zeros((streams, shards), np.uint64)
  for _ in range(requests):
    _hit(hits, *source.draw())
  return hits


def repair_size(
  sequences: Sequence[Sequence[int]], hits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Stages a repair trains for sets of `hits`, and their slice-passes.

  A stage is a distinct prefix, and it is redone if it holds a hit slice. Both
  arrays have the shape of `hits`. (Slices are taken to keep some example.)
  """
  redone = np.zeros(hits.shape, np.int64)
  passes = np.zeros(hits.shape, np.int64)
  for stage in stages.wanted(1, sequences):
    gone = (hits & hit_sets.prefix_masks(stage.prefix)[-1]) != 0
    redone += gone
    passes += gone * stage.depth
  return redone, passes


class _Requests:
  """The next request of every stream that is still followed."""

  def __init__(self, shards, slices, streams, prior, records, seed):
    if streams < 2:
      raise errors.ConfigError(f'streams {streams}: at least 2')
    self._slices = slices
    self._streams = streams
    self._rng = np.random.default_rng(seed)
    self.weights = _weights(prior, shards, slices)  # [shards * slices]
    self._left = None
    if records is not None:
      if records < 1:
        raise errors.ConfigError(f'records {records}: at least 1 in a slice')
      self._left = np.full((streams, shards * slices), records)

  def check(self, requests: int) -> None:
    """Refuses more requests than there are records to delete."""
    if requests < 0 or (
      self._left is not None
      and requests > self._left[0, self.weights > 0].sum()
    ):
      raise errors.ConfigError(
        f'requests {requests}: from 0 to the number of records'
      )

  def draw(self) -> tuple[np.ndarray, np.ndarray]:
    """A shard and the bit of a slice for each stream, both [streams]."""
    points = self._rng.random(self._streams)
    if self._left is None:
      sums = self.weights.cumsum()
      cell = np.searchsorted(sums, _below(points, sums[-1]), side='right')
    else:
      sums = (self._left * self.weights).cumsum(axis=1)
      cell = (sums <= _below(points, sums[:, -1])[:, None]).sum(axis=1)
      self._left[np.arange(self._streams), cell] -= 1
    shard, part = np.divmod(cell, self._slices)
    return shard, np.uint64(1) << part.astype(np.uint64)

  def keep(self, streams: np.ndarray) -> None:
    """Goes on with some `streams` only, given as a mask."""
    self._streams = int(streams.sum())
    if self._left is not None:
      self._left = self._left[streams]


def _hit(hits: np.ndarray, shard: np.ndarray, bit: np.ndarray) -> np.ndarray:
  """Adds one slice a stream to `hits`, in place; the shard's set before it."""
  rows = np.arange(len(hits))
  before = hits[rows, shard]
  hits[rows, shard] = before | bit
  return before


def _below(points: np.ndarray, total: np.ndarray | float) -> np.ndarray:
  """`points` of [0, 1) stretched to [0, total), whatever the rounding."""
  return np.minimum(points * total, np.nextafter(total, 0.0))


def _weights(prior, shards: int, slices: int) -> np.ndarray:
  """[shards * slices] weights of all slices of the system."""
  weights = np.ones(slices) if prior is None else np.asarray(prior, float)
  if (
    weights.shape not in ((slices,), (shards, slices))
    or not (weights >= 0).all()  # false for NaN too
    or not 0 < weights.sum() < np.inf
  ):
    raise errors.ConfigError(
      f'prior {prior}: it must be weights [{slices}] or [{shards}, {slices}], '
      f'none negative, not all 0'
    )
  return np.broadcast_to(weights, (shards, slices)).ravel()
