"""Who asks to be deleted, and when.

Those who ask are units: examples, or owners of several rows that leave
together. A unit stands where a keyed hash puts it, so every slice is hit with
the same probability whoever asks most; what differs between priors is how many
rows a request takes, and how soon those who ask have all left.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors

DAY = 86_400.0  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """Units that are alike: their share of all units, and of all requests."""

  units: float
  requests: float
  rows: int = 1


UNIFORM = (Group(units=1.0, requests=1.0),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demand:
  """How much there is, how often somebody asks, and who.

  Attributes:
    examples: rows of the system before the first request.
    rate: requests a day.
    groups: of those who may ask; shares of each kind sum to 1.
  """

  examples: int
  rate: float
  groups: Sequence[Group] = UNIFORM

  def __post_init__(self):
    if not isinstance(self.examples, int) or self.examples < 1:
      raise errors.ConfigError(
        f'examples is a whole number >= 1, got {self.examples!r}'
      )
    if not 0 < self.rate < np.inf:
      raise errors.ConfigError(
        f'rate is more than 0 requests a day, got {self.rate!r}'
      )
    for name in ('units', 'requests'):
      shares = [getattr(group, name) for group in self.groups]
      if not all(share >= 0 for share in shares) or not np.isclose(
        sum(shares), 1
      ):
        raise errors.ConfigError(
          f'shares of {name} are >= 0 and sum to 1, got {shares}'
        )
    rows = [group.rows for group in self.groups]
    if not all(isinstance(n, int) and n >= 1 for n in rows):
      raise errors.ConfigError(f'rows are whole numbers >= 1, got {rows}')

  @property
  def rows_a_request(self) -> float:
    return sum(group.requests * group.rows for group in self.groups)

  def sizes(self) -> list[int]:
    """Units of each group."""
    rows = sum(group.units * group.rows for group in self.groups)
    return [round(self.examples / rows * group.units) for group in self.groups]


class Asked(NamedTuple):
  """A stream of requests as one layout meets it.

  times [requests] seconds; shard, part, rows [requests] what each takes; counts
  [shards, slices] rows at the beginning; end, when we stop looking.
  """

  times: np.ndarray
  shard: np.ndarray
  part: np.ndarray
  rows: np.ndarray
  counts: np.ndarray
  end: float


class Stream:
  """One drawn history of requests, the same for all layouts."""

  def __init__(self, demand: Demand, requests: int, seed: int | Sequence[int]):
    """Draws `requests` of them; nobody asks twice."""
    if requests < 1:
      raise errors.ConfigError(f'requests {requests}: at least 1')
    self.requests = requests
    rng = np.random.default_rng(seed)
    sizes = demand.sizes()
    shares = np.array([group.requests for group in demand.groups])
    group = rng.choice(len(sizes), requests, p=shares / shares.sum())
    self._group = np.repeat(np.arange(len(sizes)), sizes)
    self._rows = np.array([g.rows for g in demand.groups])
    self._place = rng.random(len(self._group))
    first = np.cumsum([0, *sizes[:-1]])
    self._unit = np.zeros(requests, np.int64)
    for number, size in enumerate(sizes):
      asking = np.flatnonzero(group == number)
      if len(asking) > size:
        raise errors.ConfigError(
          f'{len(asking)} of {requests} requests fall on a group of {size}: '
          'fewer requests or more examples'
        )
      self._unit[asking] = first[number] + rng.permutation(size)[: len(asking)]
    self.end = requests * DAY / demand.rate
    # Given how many there are, a Poisson process is this.
    self._times = np.sort(rng.random(requests)) * self.end

  def on(self, shards: int, slices: int) -> Asked:
    """The stream as a system of `shards` times `slices` meets it."""
    cell = (self._place * shards * slices).astype(np.int64)
    counts = np.bincount(
      cell, weights=self._rows[self._group], minlength=shards * slices
    )
    shard, part = np.divmod(cell[self._unit], slices)
    return Asked(
      times=self._times,
      shard=shard,
      part=part,
      rows=self._rows[self._group[self._unit]],
      counts=counts.astype(np.int64).reshape(shards, slices),
      end=self.end,
    )
