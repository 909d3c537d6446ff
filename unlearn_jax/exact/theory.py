"""Closed forms of sharded, sliced deletion: oracles for tests and planner.

m shards of L slices with B sequences each; requests are independent and
uniform unless said otherwise. Costs count samples, not seconds. References:
SISA (Bourtoule et al., S&P 2021) and S3T (ICLR 2025, arXiv 2406.16257).
"""

import fractions
import math
from collections.abc import Sequence

import numpy as np
from scipy import integrate

from unlearn_jax.exact import hit_sets


def deletion_rate(
  *, shards: int, slices: int, budget: int
) -> tuple[float, float]:
  """Mean and sd of the requests until every shard is dead, without repair.

  All k = m min(B, L) different first slices must be hit. With q_j = j/(mL),
  the mean is sum_{j<=k} 1/q_j and the variance sum_{j<=k} (1 - q_j)/q_j^2.
  Sequences beyond L begin with a slice that is used already: they add nothing.
  """
  first = shards * min(budget, slices)
  q = np.arange(1, first + 1) / (shards * slices)
  return float((1 / q).sum()), float(np.sqrt(((1 - q) / q**2).sum()))


def deletion_rate_distinct(
  *, shards: int, slices: int, budget: int, records: int
) -> fractions.Fraction:
  """Mean of the same when no record is deleted twice, s records a slice.

  sum_{j<=k} (-1)^{j+1} C(k, j) (mLs + 1)/(js + 1), k = m min(B, L): the last
  of k first hits, by inclusion and exclusion of the first hit among j slices.
  Its terms cancel almost completely, hence exact rationals.
  """
  first = shards * min(budget, slices)
  total = shards * slices * records
  return sum(
    (-1) ** (j + 1)
    * math.comb(first, j)
    * fractions.Fraction(total + 1, j * records + 1)
    for j in range(1, first + 1)
  )


def deletion_rate_skewed(prior: Sequence[float]) -> float:
  """Mean requests until all of some slices are hit; slice j with `prior[j]`.

  Integral over t > 0 of 1 - prod_j (1 - exp(-p_j t)): with requests at the
  times of a Poisson process of rate 1 the hits are independent, and the mean
  time is the mean number. Give it the first slices of all shards.
  """
  prior = np.asarray(prior, float)

  def waiting(t):
    return -np.expm1(np.log(-np.expm1(-prior * t)).sum())

  # Beyond 50 mean waits of the rarest slice nothing is left to integrate.
  scale = 1 / prior.min()
  bounds = [0.0, *(scale * np.array([0.1, 1.0, 5.0, 50.0]))]
  pieces = (
    integrate.quad(waiting, low, high, limit=200)[0]
    for low, high in zip(bounds[:-1], bounds[1:], strict=True)
  )
  return float(sum(pieces))


def dead_fraction(
  *, shards: int, slices: int, budget: int, requests: int
) -> np.ndarray:
  """[requests + 1] probability that all shards are dead after r requests.

  The number of first slices not hit yet falls from j to j - 1 with
  probability j/(mL): a pure death chain.
  """
  first = shards * min(budget, slices)
  fall = np.arange(first + 1) / (shards * slices)
  left = np.zeros(first + 1)
  left[first] = 1.0
  dead = [left[0]]
  for _ in range(requests):
    moved = left * fall
    left = left - moved
    left[:-1] += moved[1:]
    dead.append(left[0])
  return np.array(dead)


def retention(
  sequences: Sequence[Sequence[int]],
  *,
  requests: int,
  prior: Sequence[float] | None = None,
) -> np.ndarray:
  """[L + 1] P[live length >= k] of a shard after `requests`, k = 0..L; exact.

  Sums the law of the hit set, found by dynamic programming over the 2^L sets.
  """
  slices = len(sequences[0])
  prior = hit_sets.check_prior(prior, slices)
  *_, law = hit_sets.laws(prior, requests)
  lengths = hit_sets.live_lengths(sequences, hit_sets.every(slices))
  by_length = np.bincount(lengths, weights=law, minlength=slices + 1)
  return by_length[::-1].cumsum()[::-1]


def retention_chain(*, slices: int, length: int, requests: int) -> float:
  """P[live length >= k] of one sequence (SISA): (1 - k/L)^r."""
  return (1 - length / slices) ** requests


def retention_printed(
  *, slices: int, length: int, budget: int, requests: int
) -> float:
  """The S3T paper's 1 - z^B', z = 1 - (1 - k/L)^r, B' = min(B, L!/(L-k)!).

  An approximation: it takes the sequences for independent, but they share
  one hit set. Compare `retention_random` and `retention`.
  """
  lost = 1 - retention_chain(slices=slices, length=length, requests=requests)
  return 1 - lost ** min(budget, math.perm(slices, length))


def retention_random(
  *, slices: int, length: int, budget: int, requests: int
) -> float:
  """P[live length >= k] of B independent uniformly random sequences; exact.

  1 - E[(1 - C(L-h, k)/C(L, k))^B], h = number of different slices hit.
  """
  hit = np.zeros(slices + 1)  # law of h
  hit[0] = 1.0
  share = np.arange(slices + 1) / slices
  for _ in range(requests):
    fresh = hit * (1 - share)
    hit = hit * share
    hit[1:] += fresh[:-1]
  kept = np.array(
    [math.comb(slices - h, length) for h in range(slices + 1)]
  ) / math.comb(slices, length)
  return float(1 - hit @ (1 - kept) ** budget)


def expected_length(
  sequences: Sequence[Sequence[int]],
  *,
  requests: int,
  prior: Sequence[float] | None = None,
) -> float:
  """Mean live length of a shard after `requests`: sum_{k>=1} P[len >= k]."""
  kept = retention(sequences, requests=requests, prior=prior)
  return float(kept[1:].sum())


def depth_after_one_hit(*, shards: int, slices: int, budget: int) -> float:
  """Mean served depth, in [0, 1], of an intact cyclic system after one hit.

  1 - (1 - d)/m. Slice u stands at u + b of rotation b (modulo L), so with
  B <= L the best length is u + B - 1 while that is below L, else L - 1:
  d L^2 = (L - B + 1)(L + B - 2)/2 + (B - 1)(L - 1).
  """
  b = min(budget, slices)
  lengths = (slices - b + 1) * (slices + b - 2) / 2 + (b - 1) * (slices - 1)
  return 1 - (1 - lengths / slices**2) / shards


def stages_after_one_hit(*, slices: int, budget: int) -> float:
  """Mean stages to redo, B <= L cyclic sequences: B (L + 1)/2, of B L.

  With B = 1 this is the SISA chain; with B = L it is exact for every slice.
  """
  return budget * (slices + 1) / 2


def passes_after_one_hit(*, slices: int, budget: int) -> float:
  """Mean slice-passes of the same: B (L + 1)(2L + 1)/6, of B L (L + 1)/2.

  A stage trains once over each slice of its prefix.
  """
  return budget * (slices + 1) * (2 * slices + 1) / 6


def trie_size(slices: int) -> int:
  """Stages of all L! sequences, prefixes shared: sum_k L!/(L-k)!."""
  return sum(math.perm(slices, k) for k in range(1, slices + 1))


def trie_after_hits(*, slices: int, hits: int) -> int:
  """Stages of all L! sequences to redo after hits in `hits` slices.

  Those that stay are the trie of the slices not hit.
  """
  return trie_size(slices) - trie_size(slices - hits)


def shards_one_by_one(*, records: int, shards: int, requests: int) -> float:
  """SISA without slices, K requests in turn: (n + 1/(2S) - 1)K - K^2/(2S).

  n = N/S; the linear bound NK/S leaves out that the data shrink.
  """
  each = records / shards + 1 / (2 * shards) - 1
  return each * requests - requests**2 / (2 * shards)


def shards_batch(*, records: int, shards: int, requests: int) -> float:
  """SISA without slices, K requests at once: N (1 - (1 - 1/S)^K) - K."""
  return records * (1 - (1 - 1 / shards) ** requests) - requests


def lone_shard_batch(*, records: int, shards: int, requests: int) -> float:
  """One model on 1/S of the data, K requests at once: 1/S of SISA's cost.

  The printed (N - K)/S charges requests that miss the model, too.
  """
  cost = shards_batch(records=records, shards=shards, requests=requests)
  return cost / shards


def slices_factor(*, slices: int, hits: int) -> float:
  """Part of a shard's training to redo after h hits in its R slices; exact.

  g(h) = 1 - 2/(R (R + 1)) sum_{j<R} j (1 - j/R)^h: stage j trains on j slices
  and stands if all hits fall behind it. g(1) = 2/3 + 1/(3R).
  """
  j = np.arange(1, slices)
  kept = j @ (1 - j / slices) ** hits
  return float(1 - 2 / (slices * (slices + 1)) * kept)


def slices_factor_printed(*, slices: int, hits: int) -> float:
  """g(h) as SISA prints it, with moments of a continuous minimum.

  1 - (E[r^2] - E[r])/(R (R + 1)), E[r] = (h + R)/(h + 1) and
  E[r^2] = 1 + 2(R - 1)(h + 1 + R)/((h + 1)(h + 2)).
  """
  h, r = hits, slices
  mean = (h + r) / (h + 1)
  square = 1 + 2 * (r - 1) * (h + 1 + r) / ((h + 1) * (h + 2))
  return 1 - (square - mean) / (r * (r + 1))


def joint_factor(*, shards: int, slices: int, requests: int) -> float:
  """Part of the whole training to redo after K requests at once; exact.

  1 - a^K - 2/(R (R + 1)) sum_{j<R} j ((1 - j/(RS))^K - a^K), a = 1 - 1/S.
  SISA multiplies the shards' factor by the slices' for ONE request instead,
  but several requests may fall into one shard.
  """
  j = np.arange(1, slices)
  missed = (1 - 1 / shards) ** requests
  kept = j @ ((1 - j / (slices * shards)) ** requests - missed)
  return float(1 - missed - 2 / (slices * (slices + 1)) * kept)


def best_speedup(*, shards: int, slices: int) -> float:
  """Speed-up when one request hits the last slice: S (R + 1)/2.

  Shards alone give S and slices alone (R + 1)/2.
  """
  return shards * (slices + 1) / 2


def rows_of_repair(
  sequences: Sequence[Sequence[int]],
  *,
  records: int,
  shards: int,
  requests: int,
) -> float:
  """Mean rows that a repair after a batch of requests passes in an epoch.

  (N - K)/L sum_p d_p (1 - (1 - d_p/(mL))^K) over the prefixes p of the
  sequences, d_p slices long. Exact where a hash places every record: who stays
  says nothing about where those stood who left.
  """
  slices = len(sequences[0])
  prefixes = {
    tuple(order[:depth])
    for order in sequences
    for depth in range(1, slices + 1)
  }
  d = np.array([len(prefix) for prefix in prefixes])
  redone = 1 - (1 - d / (shards * slices)) ** requests
  return float((records - requests) / slices * (d @ redone))
