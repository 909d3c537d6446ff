"""KLoM: how far the margins of unlearned models are from those of oracles.

For each example, KL between N margins of unlearned models and N of models
retrained without the forget set, over 20 bins of their joint range, in nats.
From finite samples it is never 0: two groups of oracles differ by .36 in the
mean and .69 at P95 with N = 100, and by more with fewer, so a value is only
read beside the floor of its own N, and never against another N or variant.
The largest it can be is log(1 / 1e-5) = 11.5: far apart is not measured.

The floor, mean and P95, of Gaussian margins, as `klom.floor(N)` and
`klom.floor(N, variant='v3')` give it from 4,000 points:

  N     default      v3
  20    3.04, 4.97   2.99, 5.00
  50    0.90, 1.74   0.87, 1.73
  100   0.35, 0.68   0.34, 0.66
  200   0.15, 0.28   0.14, 0.27
  500   0.05, 0.10   0.05, 0.09
  1000  0.02, 0.04   0.02, 0.04

`corrected` has no floor: a nearest-neighbor estimate of the same divergence,
0 for equal distributions. Measured on shifted Gaussians, N = 100: true 0, .03,
.125, .5, 2, 8 give .00, .03, .12, .46, 1.7, 4.5. Where unlearned margins lie
beyond every oracle nobody can tell how far out they are, so beyond 1 (and for
unlearned margins that are wider than the oracles') it is a lower bound.

Intervals come from subsets of three quarters of the models, drawn without
repetition. The ordinary bootstrap is wrong here: repeated margins empty the
bins and move the mean by +.36, more than the floor itself. Against repeated
experiments these intervals are 1.0 to 1.9 times as wide as need be.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _divergence
from unlearn_jax.metrics._words import (
  MARGIN_LIMIT,
  Interval,
  at_least,
  numbers,
  spread,
)

IDEAL = 0.0
COST = 'N unlearned + N oracles, best 100 of each'
EPSILON = 1e-5  # stands for the probability of an empty bin
_CHUNK = 512  # points at a time: 100 models of them stay in the cache


class _Variant(NamedTuple):
  swapped: bool = False  # KL(oracle || unlearned)
  fewer_bins: int = 0
  clip_oracles: bool = True
  fixed_range: bool = False  # bins over all of [-100, 100]
  keep_largest: bool = False  # False: the joint maximum is in no bin
  smoothing: str = 'used'  # of q: 'used' bins of p, 'all' bins, or 'added'
  renormalize: bool = False  # q sums to 1 again after smoothing


# The public ones are exactly as published, faults included: v1 and v2 of
# data-unlearning-bench (through scipy's entropy), v3 of EasyDUB; v4 as its
# description reads, its code was not compared.
VARIANTS = {
  'default': _Variant(keep_largest=True),
  'v1': _Variant(
    fewer_bins=1, clip_oracles=False, smoothing='all', renormalize=True
  ),
  'v2': _Variant(swapped=True, renormalize=True),
  'v3': _Variant(),
  'v4': _Variant(
    swapped=True, fixed_range=True, keep_largest=True, smoothing='added'
  ),
}


class Levels(NamedTuple):
  """KLoM over the points of a split, and the mean without its bias."""

  p95: float
  mean: float
  p99: float
  corrected: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
  """KLoM of one split: what to publish, and all that makes it comparable."""

  p95: Interval
  mean: Interval
  p99: Interval
  corrected: Interval  # the mean, without bias
  floor: Levels  # of the same N, variant and bins
  floor_of: str  # 'oracles' if they were given, else 'gaussian'
  variant: str
  bins: int
  models: int
  points: int

  @property
  def value(self) -> Interval:
    return self.p95

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have given this P95."""
    return self.p95.low <= self.floor.p95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Klom:
  """KLoM in one variant; `make` builds it."""

  variant: str
  bins: int
  resamples: int
  seed: int

  def __call__(self, *, unlearned, oracles, fresh=None) -> Summary:
    """The summary of a split from margins [models, points].

    `fresh` oracles, other than `oracles` and as many, give the floor of these
    very points; without them it is that of Gaussian margins.
    """
    pair = self._pair(unlearned, oracles)
    if fresh is None:
      bottom = floor(len(pair[0]), variant=self.variant, bins=self.bins)
    else:
      fresh = self._pair(fresh, pair[1], 'fresh oracles')
      _refuse_shared_models(*fresh)
      bottom = self._levels(*fresh)
    deviations = self._deviations(*pair)
    intervals = map(spread, self._levels(*pair), deviations)
    return Summary(
      **dict(zip(Levels._fields, intervals, strict=True)),
      floor=bottom,
      floor_of='gaussian' if fresh is None else 'oracles',
      variant=self.variant,
      bins=self.bins,
      models=pair[0].shape[0],
      points=pair[0].shape[1],
    )

  def per_point(self, unlearned, oracles) -> np.ndarray:
    """KLoM of each example, [points]."""
    return self._chunked(self._binned, *self._pair(unlearned, oracles))

  def corrected(self, unlearned, oracles) -> np.ndarray:
    """The estimate without bias of each example, [points]; noise included."""
    return self._chunked(_divergence.nearest, *self._pair(unlearned, oracles))

  def _pair(self, unlearned, oracles, name='unlearned'):
    unlearned = numbers(name, unlearned, 2)
    # A variant that does not clip them has no range to put an inf in.
    oracles = numbers(
      'oracles', oracles, 2, finite=not VARIANTS[self.variant].clip_oracles
    )
    if unlearned.shape != oracles.shape:
      raise errors.DataError(
        f'{name} {unlearned.shape} and oracles {oracles.shape} must have as '
        'many models and the same points: KLoM depends on how many'
      )
    at_least('models', len(oracles), 2)
    return unlearned, oracles

  def _levels(self, unlearned, oracles) -> Levels:
    values = self._chunked(self._binned, unlearned, oracles)
    p95, p99 = np.percentile(values, [95, 99])
    corrected = self._chunked(_divergence.nearest, unlearned, oracles)
    return Levels(
      *(float(x) for x in (p95, values.mean(), p99, corrected.mean()))
    )

  def _deviations(self, unlearned, oracles):
    """Standard errors, from models drawn without repetition."""
    models = len(oracles)
    part = max(2, round(0.75 * models))
    if part == models:  # 2 models: no subset tells anything
      return Levels(*[np.inf] * len(Levels._fields))
    rng = np.random.default_rng(self.seed)
    draws = [
      self._levels(
        unlearned[rng.permutation(models)[:part]],
        oracles[rng.permutation(models)[:part]],
      )
      for _ in range(self.resamples)
    ]
    # What a part scatters about the whole, scaled to the whole about truth.
    scale = np.sqrt(part / (models - part))
    return Levels(*(scale * np.std(draws, axis=0, ddof=1)))

  def _chunked(self, function, unlearned, oracles):
    return np.concatenate(
      [
        function(*self._samples(unlearned[:, start:end], oracles[:, start:end]))
        for start in range(0, unlearned.shape[1], _CHUNK)
        for end in [start + _CHUNK]
      ]
    )

  def _samples(self, unlearned, oracles):
    """Both as [points, N], the one the mean is taken over first."""
    rules = VARIANTS[self.variant]
    unlearned, oracles = (
      np.ascontiguousarray(x.T, np.float64) for x in (unlearned, oracles)
    )
    np.clip(unlearned, -MARGIN_LIMIT, MARGIN_LIMIT, out=unlearned)
    if rules.clip_oracles:
      np.clip(oracles, -MARGIN_LIMIT, MARGIN_LIMIT, out=oracles)
    return (oracles, unlearned) if rules.swapped else (unlearned, oracles)

  def _binned(self, first, second):
    rules = VARIANTS[self.variant]
    low, high = _divergence.joint_range(first, second)
    if rules.fixed_range:
      low = np.full(len(first), -MARGIN_LIMIT)
      high = -low
    bins = self.bins - rules.fewer_bins
    p, q = (
      _probabilities(_divergence.counts(x, low, high, bins), rules)
      for x in (first, second)
    )
    if rules.smoothing == 'added':
      p, q = p + EPSILON, q + EPSILON
    else:
      smooth = (p > 0) | (rules.smoothing == 'all')
      q = np.where(smooth, np.maximum(q, EPSILON), q)
    if rules.renormalize:
      if not p.any(axis=1).all():
        raise errors.DataError(
          f'{self.variant} has no value where a whole sample is at its maximum'
        )
      q /= q.sum(axis=1, keepdims=True)
    return _divergence.discrete(p, q)


def _probabilities(counts, rules: _Variant):
  """The largest value joins the last bin, or leaves a bin that stays empty."""
  if rules.keep_largest:
    counts[:, -2] += counts[:, -1]
    counts = counts[:, :-1]
  else:
    counts[:, -1] = 0
  return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _refuse_shared_models(fresh, oracles):
  """An oracle compared with itself would make a floor of 0."""
  shared = {row.tobytes() for row in np.asarray(fresh, np.float64)} & {
    row.tobytes() for row in np.asarray(oracles, np.float64)
  }
  if shared:
    raise errors.DataError(
      f'{len(shared)} of the fresh oracles are among the oracles'
    )


def make(
  *,
  variant: str = 'default',
  bins: int = 20,
  resamples: int = 50,
  seed: int = 0,
) -> Klom:
  """KLoM; a public variant (`v1` .. `v4`) only to compare with its tables."""
  errors.check_choice('variant of KLoM', variant, VARIANTS)
  if bins < 2 or (variant != 'default' and bins != 20):
    raise errors.ConfigError(
      f'bins of variant {variant!r}: 20, or 2 and more for the default; '
      f'got {bins}'
    )
  if resamples < 2:
    raise errors.ConfigError(f'resamples must be 2 or more, got {resamples}')
  return Klom(variant=variant, bins=bins, resamples=resamples, seed=seed)


def null(seed: int, *, models: int = 40, points: int = 60) -> dict:
  """Margins of an unlearner that is as good as retraining."""
  draw = np.random.default_rng(seed).normal
  return {
    'unlearned': draw(size=(models, points)),
    'oracles': draw(size=(models, points)),
  }


@functools.cache
def floor(
  models: int,
  *,
  variant: str = 'default',
  bins: int = 20,
  points: int = 4000,
  seed: int = 0,
) -> Levels:
  """What two samples of one Gaussian show with N = `models`."""
  at_least('models', models, 2)
  metric = make(variant=variant, bins=bins)
  same = null(seed, models=models, points=points)
  return metric._levels(same['unlearned'], same['oracles'])


def difference(first: Summary, second: Summary) -> float:
  """P95 of the first less that of the second, if they can be compared."""
  for word in ('models', 'variant', 'bins'):
    mine, other = getattr(first, word), getattr(second, word)
    if mine != other:
      raise errors.DataError(
        f'KLoM with {word} {mine} and {other} cannot be compared: the floor '
        'differs'
      )
  return first.p95.value - second.p95.value
