"""Sets of hit slices as bits of one integer: bit j is slice j.

What a deletion leaves of a shard depends on its set of hit slices alone, so
the planner, the theory and the simulator all count on these words. Functions
over all 2^L sets take the number of a set as its index.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from unlearn_jax import errors

# Arrays over all sets double with every slice: 16 take seconds and 10 MB.
MAX_ENUMERATED = 16
MAX_SLICES = 64  # bits of a word


def check_prior(prior: Sequence[float] | None, slices: int) -> np.ndarray:
  """[L] float probabilities, or an error that says what is wrong."""
  if prior is None:
    return np.full(slices, 1 / slices)
  given, prior = prior, np.asarray(prior, float)
  if (
    prior.shape != (slices,)
    or not (prior >= 0).all()  # false for NaN too
    or prior.sum() > 1 + 1e-9
  ):
    raise errors.ConfigError(
      f'prior {given}: it must be {slices} probabilities, at most 1 in sum'
    )
  return prior


def prefix_masks(order: Sequence[int]) -> np.ndarray:
  """[L] uint64, the sets of the first 1, 2, .. L slices of `order`."""
  if len(order) > MAX_SLICES:
    raise errors.ConfigError(
      f'{len(order)} slices: sets of slices are counted up to {MAX_SLICES}'
    )
  bits = np.uint64(1) << np.asarray(order, np.uint64)
  return np.bitwise_or.accumulate(bits)


def live_lengths(
  sequences: Sequence[Sequence[int]], hits: np.ndarray
) -> np.ndarray:
  """Longest live prefix over `sequences` for every set of `hits`, its shape."""
  longest = np.zeros(hits.shape, np.int64)
  for order in sequences:
    untouched = (hits[..., None] & prefix_masks(order)) == 0
    np.maximum(longest, untouched.sum(axis=-1), out=longest)
  return longest


def every(slices: int) -> np.ndarray:
  """[2^L] uint64, all sets of slices."""
  if slices > MAX_ENUMERATED:
    raise errors.ConfigError(
      f'{slices} slices: all sets of slices are listed for at most '
      f'{MAX_ENUMERATED} slices'
    )
  return np.arange(2**slices, dtype=np.uint64)


def laws(prior: np.ndarray, requests: int) -> Iterator[np.ndarray]:
  """[2^L] probabilities of the hit set after 0, 1, .. `requests` requests.

  Requests are independent and hit slice j with probability `prior[j]`; what
  is missing to 1 falls on other shards. Every term is a sum of products, so
  small probabilities keep their digits (inclusion-exclusion loses them).
  """
  law = np.zeros(every(len(prior)).size)
  law[0] = 1.0
  yield law
  # The next request stays inside the set, or misses this shard.
  mass = np.zeros((1, law.size))
  mass[0, 1 << np.arange(len(prior))] = prior
  stay = subset_sums(mass)[0] + max(0.0, 1.0 - prior.sum())
  for _ in range(requests):
    new = law * stay
    for j, p in enumerate(prior):
      _halves(new, j)[:, 1] += p * _halves(law, j)[:, 0]
    law = new
    yield law


def mean_law(prior: np.ndarray, horizon: int) -> np.ndarray:
  """[2^L] law of the hit set, averaged over 0, 1, .. `horizon` requests."""
  return sum(laws(prior, horizon)) / (horizon + 1)


def subset_sums(values: np.ndarray) -> np.ndarray:
  """[rows, 2^L]: at every set the sum of `values` over its subsets."""
  sums = values.copy()
  for j in range(sums.shape[1].bit_length() - 1):
    halves = _halves(sums, j)
    halves[:, 1] += halves[:, 0]
  return sums


def _halves(values: np.ndarray, j: int) -> np.ndarray:
  """A view [.., 2, 2^j] of sets without and with slice j."""
  return values.reshape(-1, 2, 1 << j)
