"""LDS: do predicted margins rank held-out training subsets rightly?

For each target the Spearman correlation, over K masks, between what an
attributor predicts for the model trained on the mask and the margin of models
that were; the mean over targets. 1 is ideal, but out of reach: training noise
bounds it, less so when each margin is the mean of s seeds, so values of
different s are never compared.
"""

import dataclasses

import numpy as np
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics._words import Interval, at_least, numbers, spread

IDEAL = 1.0
COST = 'K models of random subsets, s seeds each'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
  """The score, and what it was measured with."""

  lds: Interval  # over the masks
  per_target: np.ndarray  # [targets]; NaN where the margins are constant
  floor: Interval  # of predictions that know nothing
  masks: int
  seeds: int
  targets: int  # those that count
  left_out: int  # those whose margins are constant

  @property
  def value(self) -> Interval:
    return self.lds

  @property
  def at_floor(self) -> bool:
    """Whether predictions that know nothing could score as much."""
    return self.lds.value <= self.floor.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lds:
  """The linear datamodeling score; `make` builds it."""

  resamples: int
  seed: int

  def __call__(self, *, predictions, margins) -> Score:
    """Scores predictions [K, targets].

    `margins` are [K, targets], or [s, K, targets] to be averaged over s seeds.
    """
    predictions = numbers('predictions', predictions, 2, finite=True)
    averaged = np.ndim(margins) != 2
    margins = numbers('margins', margins, 3 if averaged else 2, finite=True)
    seeds = len(margins) if averaged else 1
    if averaged:
      margins = np.mean(margins, axis=0, dtype=np.float64)
    if predictions.shape != margins.shape:
      raise errors.DataError(
        f'predictions {predictions.shape} and margins {margins.shape} must be '
        'of the same masks and targets'
      )
    at_least('masks', len(margins), 3)
    per_target = spearman(predictions, margins)
    defined = ~np.isnan(per_target)
    if not defined.any():
      raise errors.DataError('the margins of every target are constant')
    draws = self._draws(predictions[:, defined], margins[:, defined])
    return Score(
      # Repeated masks are ties, which lower the draws as a whole: only how
      # far they scatter is used.
      lds=spread(per_target[defined].mean(), np.std(draws, ddof=1)),
      per_target=per_target,
      floor=floor(len(margins)),
      masks=len(margins),
      seeds=seeds,
      targets=int(defined.sum()),
      left_out=int((~defined).sum()),
    )

  def _draws(self, predictions, margins):
    """The score on masks drawn again, without sorting again."""
    rng = np.random.default_rng(self.seed)
    masks = len(margins)
    dense = [_dense_ranks(x) for x in (predictions, margins)]
    draws = []
    for _ in range(self.resamples):
      drawn = rng.integers(masks, size=masks)
      times = np.bincount(drawn, minlength=masks)
      ranks = [_ranks_when_repeated(x, times) for x in dense]
      found = _correlation(*ranks, times)
      # A draw may leave a target constant: it is left out of that draw.
      found = found[~np.isnan(found)]
      if len(found):
        draws.append(found.mean())
    return draws


def make(*, resamples: int = 200, seed: int = 0) -> Lds:
  """The score, its interval from `resamples` draws of the masks."""
  at_least('resamples', resamples, 2)
  return Lds(resamples=resamples, seed=seed)


def null(seed: int, *, masks: int = 50, targets: int = 30) -> dict:
  """Predictions that have nothing to do with the margins."""
  draw = np.random.default_rng(seed).normal
  return {
    'predictions': draw(size=(masks, targets)),
    'margins': draw(size=(2, masks, targets)),
  }


def floor(masks: int) -> Interval:
  """What predictions that know nothing score: 0, and its 95 % range.

  That of a single target: if all targets move together, as those of one class
  nearly do, many targets are no better than one.
  """
  at_least('masks', masks, 3)
  reach = 1.96 / np.sqrt(masks - 1)
  return Interval(0.0, float(-reach), float(reach))


def spearman(predictions, margins) -> np.ndarray:
  """Rank correlation of each column; ties share their mean rank.

  Constant margins give NaN: no ranking of them is right or wrong. Constant
  predictions give 0: to predict nothing is a wrong answer, and must not let a
  method choose the targets it is judged by.
  """
  ranks = (
    scipy.stats.rankdata(predictions, axis=0),
    scipy.stats.rankdata(margins, axis=0),
  )
  return _correlation(*ranks, np.ones(len(margins)))


def _correlation(predicted, true, times):
  """Pearson correlation of each column of ranks, row i counted `times[i]`."""
  weight = (times / times.sum())[:, None]
  # The mean of ranks is known exactly, ties or not: constant columns are 0.
  middle = (times.sum() + 1) / 2
  predicted, true = predicted - middle, true - middle
  product = np.sum(weight * predicted * true, axis=0)
  norms = np.sum(weight * predicted**2, axis=0) * np.sum(
    weight * true**2, axis=0
  )
  found = np.divide(product, np.sqrt(norms), out=norms * 0, where=norms > 0)
  return np.where((true[times > 0] == 0).all(axis=0), np.nan, found)


def _dense_ranks(values):
  """Each column's values as 0, 1, 2, ..; equal values alike."""
  return scipy.stats.rankdata(values, method='dense', axis=0) - 1


def _ranks_when_repeated(dense, times):
  """Mean ranks if row i stood there `times[i]` times."""
  rows, columns = dense.shape
  cell = dense + np.arange(columns) * rows
  weights = np.broadcast_to(times[:, None], dense.shape)
  tied = np.bincount(cell.ravel(), weights.ravel(), rows * columns)
  before = np.cumsum(tied.reshape(columns, rows), axis=1).ravel() - tied
  return (before + (tied + 1) / 2)[cell]
