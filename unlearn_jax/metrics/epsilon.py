"""Forgetting quality of the NeurIPS 2023 challenge: F, and the final score.

For each forgotten example an attacker tells margins of N unlearned models from
those of N oracles, by one threshold (the kind of the larger median is above)
or by two (the narrower kind is between). With FPR and FNR of a threshold,
epsilon = max(log((1 - d - FPR) / FNR), log((1 - d - FNR) / FPR), 0), d = 1e-5;
thresholds where one rate alone is 0 are discarded, both 0 is perfect. The
largest counts, at most 50. F is the mean of H = 2^-floor(2 epsilon), which is 0
from ceil(log(N - 1)) on.

`rule='exact'` tries every threshold at which a rate changes, and every pair of
them that the official rule could reach; `rule='official'` tries its grid, 100 a
unit and 160,000 pairs. Both thresholds are those within 2 units of the ends of
the narrower kind: trying every pair there is would lower F of equal ensembles
to .05 at N = 512.

1 is only nominal: a maximum over noisy thresholds is never 0. Equal Gaussians
have F = .18 (N = 64), .19 (128) and .18 (512), means of seeds 0, 1 and 2 over
2,000, 1,000 and 400 points; half a deviation apart it is .11 and .06 (N = 64
and 512), a whole one .04 and .015. So what is published is `relative`, the
ratio to the F of oracles against oracles.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics._words import (
  MARGIN_LIMIT,
  Interval,
  at_least,
  numbers,
  spread,
)

IDEAL = 1.0
COST = 'N unlearned + N oracles, best 512 of each'
RULES = ('exact', 'official')
DELTA = 1e-5
CAP = 50.0
_BUFFER = 2.0  # units beyond the narrower kind that two thresholds may go
_PER_UNIT = 100  # thresholds of the official grid
_NARROW = 0.01  # a kind this much narrower than the other is told apart
_FEWEST = 6  # of which half still have a score


class Accuracy(NamedTuple):
  """Mean accuracy of an ensemble, in [0, 1]."""

  retain: float
  test: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
  """Forgetting quality, and all that makes it comparable."""

  quality: Interval  # F; over the models
  floor: Interval  # F of oracles against oracles, of the same N and rule
  floor_of: str  # 'oracles' if they were given, else 'gaussian'
  relative: float  # F over that of the floor
  final: float | None  # F times the ratios of accuracies, if those were given
  epsilons: np.ndarray  # [points]; NaN where every threshold was discarded
  undefined: int  # points with NaN: they are not in F
  rule: str
  models: int

  @property
  def value(self) -> Interval:
    return self.quality

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have scored as little."""
    return self.quality.high >= self.floor.low


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epsilon:
  """The metric; `make` builds it."""

  rule: str
  resamples: int
  seed: int

  def __call__(
    self,
    *,
    unlearned,
    oracles,
    fresh=None,
    unlearned_accuracy: Accuracy | None = None,
    oracle_accuracy: Accuracy | None = None,
  ) -> Quality:
    """The quality from margins [models, points] of the forgotten points.

    `fresh` oracles, other than `oracles` and as many, give the floor of these
    very points; without them it is that of Gaussian margins. With both
    accuracies there is a final score.
    """
    unlearned, oracles = _checked('unlearned', unlearned, oracles)
    if fresh is not None:
      fresh, _ = _checked('fresh', fresh, oracles)
    ratio = _ratio(unlearned_accuracy, oracle_accuracy)
    epsilons = self._epsilons(unlearned, oracles)
    quality = self._quality(unlearned, oracles, epsilons)
    if fresh is None:
      bottom = floor(len(oracles), rule=self.rule)
    else:
      bottom = self._quality(fresh, oracles, self._epsilons(fresh, oracles))
    return Quality(
      quality=quality,
      floor=bottom,
      floor_of='gaussian' if fresh is None else 'oracles',
      relative=quality.value / bottom.value,
      final=None if ratio is None else quality.value * ratio,
      epsilons=epsilons,
      undefined=int(np.isnan(epsilons).sum()),
      rule=self.rule,
      models=len(oracles),
    )

  def per_point(self, unlearned, oracles) -> np.ndarray:
    """The epsilon of each point, [points]; NaN where none is defined."""
    return self._epsilons(*_checked('unlearned', unlearned, oracles))

  def _epsilons(self, unlearned, oracles):
    first, second = (
      np.sort(x.T.astype(np.float32), axis=1) for x in (unlearned, oracles)
    )
    if self.rule == 'exact':
      found = np.asarray(_best(first, second), np.float64)
    else:  # grids of different sizes: one after another
      found = np.array(list(map(_best_of_grid, first, second)))
    ranges = np.sort([np.ptp(x, axis=1) for x in (first, second)], axis=0)
    found[ranges[0] < _NARROW * ranges[1]] = np.inf
    # A negative advantage stands for no threshold at all.
    with np.errstate(invalid='ignore'):
      epsilons = np.log(np.where(found < 0, np.nan, np.maximum(found, 1)))
    return np.minimum(epsilons, CAP)

  def _quality(self, unlearned, oracles, epsilons) -> Interval:
    """F, and how far it scatters over parts of the models.

    Models are not drawn twice: ties would make another metric.
    """
    models = len(oracles)
    rng = np.random.default_rng(self.seed)
    draws = []
    for _ in range(self.resamples):
      half = [
        x[rng.permutation(models)[: models // 2]] for x in (unlearned, oracles)
      ]
      epsilons_of_half = self._epsilons(*half)
      if not np.isnan(epsilons_of_half).all():
        draws.append(_mean_score(epsilons_of_half, models // 2))
    # Halves scatter about the whole as wholes do about the truth.
    deviation = np.std(draws, ddof=1) if len(draws) > 1 else np.inf
    return spread(_mean_score(epsilons, models), deviation)


def make(*, rule: str = 'exact', resamples: int = 20, seed: int = 0) -> Epsilon:
  """The metric; the official grid only to compare with its tables."""
  errors.check_choice('rule', rule, RULES)
  if resamples < 2:
    raise errors.ConfigError(f'resamples must be 2 or more, got {resamples}')
  return Epsilon(rule=rule, resamples=resamples, seed=seed)


def null(seed: int, *, models: int = 40, points: int = 60) -> dict:
  """Margins of an unlearner that is as good as retraining."""
  draw = np.random.default_rng(seed).normal
  return {
    'unlearned': draw(size=(models, points)),
    'oracles': draw(size=(models, points)),
  }


@functools.cache
def floor(
  models: int, *, rule: str = 'exact', points: int = 400, seed: int = 0
) -> Interval:
  """F of two samples of one Gaussian with N = `models`.

  The interval is that of as many points, each by itself.
  """
  at_least('models', models, _FEWEST)
  metric = make(rule=rule)
  found = metric.per_point(**null(seed, models=models, points=points))
  scores = _scores(found, models)
  return spread(_mean_score(found, models), np.nanstd(scores) / points**0.5)


def _checked(name, unlearned, oracles):
  pair = numbers(name, unlearned, 2), numbers('oracles', oracles, 2)
  if pair[0].shape != pair[1].shape:
    raise errors.DataError(
      f'{name} {pair[0].shape} and oracles {pair[1].shape} must have as many '
      'models and the same points'
    )
  at_least('models', len(oracles), _FEWEST)
  return [np.clip(x, -MARGIN_LIMIT, MARGIN_LIMIT) for x in pair]


def _ratio(unlearned, oracles) -> float | None:
  """How much of the oracles' utility is left."""
  if (unlearned is None) != (oracles is None):
    raise errors.DataError(
      'a final score needs the accuracy of both, unlearned and oracles'
    )
  if unlearned is None:
    return None
  mine, theirs = (
    numbers(name, [*pair], 1)
    for name, pair in (
      ('unlearned_accuracy', unlearned),
      ('oracle_accuracy', oracles),
    )
  )
  if min(*mine, *theirs) < 0 or max(*mine, *theirs) > 1 or not theirs.all():
    raise errors.DataError(
      f'accuracies are in [0, 1], those of oracles above 0; got {mine} and '
      f'{theirs}'
    )
  return float(np.prod(mine / theirs))


def _scores(epsilons, models: int):
  """H of each point; NaN where epsilon is."""
  score = 2.0 ** -np.floor(2 * epsilons)
  return np.where(epsilons >= np.ceil(np.log(models - 1)), 0.0, score)


def _mean_score(epsilons, models: int) -> float:
  defined = ~np.isnan(epsilons)
  if not defined.any():
    raise errors.DataError(
      'every threshold of every point is discarded: the margins are constant, '
      'or too few'
    )
  return float(np.mean(_scores(epsilons[defined], models)))


def _advantage(hits, alarms, models):
  """exp(epsilon) from counts of true and of false positives.

  Infinite where both rates of error are 0, -1 where one is: discarded.
  """
  misses = models - hits
  margin = models * DELTA
  best = jnp.maximum(
    (models - alarms - margin) / misses, (hits - margin) / alarms
  )
  best = jnp.where((misses > 0) & (alarms > 0), best, -1.0)
  return jnp.where((misses == 0) & (alarms == 0), jnp.inf, best)


@jax.jit
def _best(first, second):
  """The largest advantage of each point, from sorted [points, N]."""
  return jax.lax.map(lambda both: _best_of_cuts(*both), (first, second))


def _best_of_cuts(first, second):
  """That of one point: a cut lies before, between or after the margins."""
  models = len(first)
  wider = first[-1] - first[0] > second[-1] - second[0]
  narrow = jnp.where(wider, second, first)
  wide = jnp.where(wider, first, second)
  margins = jnp.concatenate([narrow, wide])
  order = jnp.argsort(margins)
  margins = margins[order]
  inside = jnp.cumsum(jnp.pad((order < models).astype(jnp.float32), (1, 0)))
  outside = jnp.arange(2 * models + 1, dtype=jnp.float32) - inside
  below = jnp.pad(margins, (1, 0), constant_values=-jnp.inf)
  above = jnp.pad(margins, (0, 1), constant_values=jnp.inf)
  cut = below < above  # equal margins are not cut apart
  # Narrow ones between two cuts, the left one down and the right one across.
  least = jnp.maximum(below, narrow[-1] - _BUFFER)
  most = jnp.minimum(above, narrow[-1] + _BUFFER)
  width = narrow[-1] - narrow[0]
  reached = (
    (cut & (least <= most))[None]
    & cut[:, None]
    & (below[:, None] < (most - width + _BUFFER)[None])
    & (above[:, None] >= (least - width - _BUFFER)[None])
  )
  between = _advantage(
    inside[None] - inside[:, None], outside[None] - outside[:, None], models
  )
  # The kind of the larger median above one cut.
  higher = jnp.median(narrow) > jnp.median(wide)
  beyond = jnp.where(
    higher,
    _advantage(models - inside, models - outside, models),
    _advantage(models - outside, models - inside, models),
  )
  return jnp.maximum(
    jnp.max(jnp.where(reached, between, -1.0)),
    jnp.max(jnp.where(cut, beyond, -1.0)),
  )


def _best_of_grid(first, second) -> float:
  """The same on the official grid, from two sorted samples."""
  first, second = first.astype(np.float64), second.astype(np.float64)
  models = len(first)
  narrow, wide = sorted((first, second), key=np.ptp)
  side = int(np.ceil(2 * _BUFFER * _PER_UNIT))
  ends = np.linspace(-_BUFFER, _BUFFER, side)
  right = np.repeat(narrow[-1] + ends, side)
  left = right - np.ptp(narrow) + np.tile(ends, side)
  between = [
    np.maximum(np.searchsorted(x, right, 'right') - np.searchsorted(x, left), 0)
    for x in (narrow, wide)
  ]
  low, high = min(first[0], second[0]), max(first[-1], second[-1])
  one = np.linspace(low, high, int(np.ceil((high - low) * _PER_UNIT)))
  higher = sorted((first, second), key=np.median, reverse=True)
  beyond = [models - np.searchsorted(x, one) for x in higher]
  hits, alarms = np.concatenate([between, beyond], axis=1).astype(np.float64)
  kept = (hits < models) & (alarms > 0)
  if ((hits == models) & (alarms == 0)).any():
    return np.inf
  hits, alarms, margin = hits[kept], alarms[kept], models * DELTA
  return np.max(
    np.maximum(
      (models - alarms - margin) / (models - hits), (hits - margin) / alarms
    ),
    initial=-1.0,
  )
