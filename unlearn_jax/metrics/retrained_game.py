"""Unlearned or retrained? U-LiRA's attack where all models forget one set.

U-LiRA (`ulira.py`) needs models that never saw an example beside those that
unlearned it. Where every model forgets the same examples, those models are the
oracles, and the game is another one: an attacker sees the margin of a forgotten
example in one model, and says whether that model unlearned it or was retrained
without it. To each of the two kinds a Gaussian is fitted, of shadows: all
models but the one in question and its partner of the other kind, so both fits
have as many and neither has seen the answer. The likelier kind is the answer.

The score is the mean over forgotten examples and over both kinds of how often
that is right (balanced accuracy): .5 is ideal and what oracles give against
oracles, 1 is no unlearning. Where margins are the only evidence it says the
same as KLoM, on a scale that does not depend on bins.
"""

import dataclasses
import functools

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _gaussian
from unlearn_jax.metrics._words import (
  MARGIN_LIMIT,
  Interval,
  at_least,
  numbers,
  percentile,
  spread,
)

IDEAL = 0.5
COST = 'N unlearned + N oracles'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Game:
  """What the attacker achieves."""

  accuracy: Interval
  floor: Interval  # of oracles against oracles
  floor_of: str  # 'oracles' if others were given, else 'gaussian'
  per_point: np.ndarray  # [points] accuracy
  models: int  # of each kind

  @property
  def value(self) -> Interval:
    return self.accuracy

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have been told apart as often."""
    return self.accuracy.low <= self.floor.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrainedGame:
  """The attack; `make` builds it."""

  resamples: int
  seed: int

  def __call__(self, *, unlearned, oracles, fresh=None) -> Game:
    """Plays with margins [models, points] of the forgotten points alone.

    `fresh` oracles, other than `oracles` and as many, give the floor of these
    very points; without them it is that of Gaussian margins.
    """
    pair = _checked('unlearned', unlearned, oracles)
    if fresh is None:
      bottom = floor(len(pair[0]))
    else:
      bottom = self._accuracy(*_checked('fresh', fresh, oracles))
    return Game(
      accuracy=self._accuracy(*pair),
      floor=bottom,
      floor_of='gaussian' if fresh is None else 'oracles',
      per_point=_right(*pair),
      models=len(pair[0]),
    )

  def _accuracy(self, unlearned, oracles) -> Interval:
    """With the error that subsets of three quarters of the models show.

    All answers share their shadows: the scatter of the answers alone would
    make the interval too narrow.
    """
    models = len(oracles)
    part = max(3, round(0.75 * models))
    value = _right(unlearned, oracles).mean()
    if part == models:
      return spread(value, np.inf)
    rng = np.random.default_rng(self.seed)
    draws = [
      _right(
        unlearned[rng.permutation(models)[:part]],
        oracles[rng.permutation(models)[:part]],
      ).mean()
      for _ in range(self.resamples)
    ]
    # What a part scatters about the whole, scaled to the whole about truth.
    return spread(
      value, np.sqrt(part / (models - part)) * np.std(draws, ddof=1)
    )


def make(*, resamples: int = 100, seed: int = 0) -> RetrainedGame:
  """The game, with as many resamples for its interval."""
  if resamples < 2:
    raise errors.ConfigError(f'resamples must be 2 or more, got {resamples}')
  return RetrainedGame(resamples=resamples, seed=seed)


def null(seed: int, *, models: int = 60, points: int = 20) -> dict:
  """Margins of an unlearner that is as good as retraining."""
  draw = np.random.default_rng(seed).normal
  return {
    'unlearned': draw(size=(models, points)),
    'oracles': draw(size=(models, points)),
  }


@functools.cache
def floor(models: int) -> Interval:
  """Two samples of one Gaussian: .5, and the 95 % range of a single point.

  Many points scatter less, by how much depends on how they hang together.
  """
  at_least('models', models, 3)
  games = _right(**null(0, models=models, points=4000))
  return percentile(0.5, games)


def _checked(name, unlearned, oracles):
  pair = numbers(name, unlearned, 2), numbers('oracles', oracles, 2)
  if pair[0].shape != pair[1].shape:
    raise errors.DataError(
      f'{name} {pair[0].shape} and oracles {pair[1].shape} must have as many '
      'models and the same points'
    )
  at_least('models', len(oracles), 3)
  return tuple(
    np.clip(np.asarray(m, np.float64), -MARGIN_LIMIT, MARGIN_LIMIT)
    for m in pair
  )


def _right(unlearned, oracles):
  """[points] how often the answers about both kinds are right."""
  kinds = (unlearned, oracles)
  fits = [_without_own(kind) for kind in kinds]
  found_out, mistaken = (
    np.mean(
      _gaussian.log_density(kind, *fits[0])
      > _gaussian.log_density(kind, *fits[1]),
      axis=0,
    )
    for kind in kinds
  )
  return (found_out + 1 - mistaken) / 2


def _without_own(margins):
  """Mean and deviation of all other models, for each model and point."""
  n = len(margins)
  gap = margins - margins.mean(axis=0)
  mean = margins.mean(axis=0) - gap / (n - 1)
  squares = np.sum(gap**2, axis=0) - gap**2 * n / (n - 1)
  deviation = np.sqrt(np.maximum(squares, 0) / (n - 2))
  return mean, np.maximum(deviation, _gaussian.NARROWEST)
