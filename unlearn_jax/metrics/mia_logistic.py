"""Logistic MIA: are losses on the forget set told from those on unseen ones?

A logistic regression on the loss, fitted to nine tenths of as many forgotten as
unseen examples and tried on the rest, ten times: its accuracy in points. 50 is
ideal, and `indiscernibility` is 1 - 2 |accuracy - .5|. The two sets are never
quite alike, so an oracle has more or less than 50: it is the floor, and who
differs is told by the `difference` of each unlearned model to its oracle.

Which examples are drawn is settled over sorted losses, so the order of examples
changes nothing and models are asked alike.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics._difference import Difference, difference
from unlearn_jax.metrics._paired import mean
from unlearn_jax.metrics._words import COVERAGE, Interval, at_least, numbers

IDEAL = 50.0
COST = 'unlearned + oracle'
_TESTED = 0.1  # of each kind
_STEPS = 100
_SMALL = 1e-8  # a step that ends the fit


class Losses(NamedTuple):
  """Losses [models, examples] of two kinds of examples."""

  forget: np.ndarray
  unseen: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
  """What the attacker achieves on the unlearned models."""

  accuracy: Interval  # in points, mean over models
  indiscernibility: Interval  # mean over models; 1 is ideal
  floor: Interval  # the accuracy on the oracles
  difference: Difference  # of each accuracy to that on its oracle
  per_model: np.ndarray  # [models] accuracy

  @property
  def value(self) -> Interval:
    return self.accuracy

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have been attacked as well."""
    return self.difference.at_floor


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiaLogistic:
  """The attack; `make` builds it."""

  splits: int
  seed: int

  def __call__(self, *, unlearned, oracles, fresh=None) -> Attack:
    """Attacks `Losses`."""
    kinds = {'unlearned': unlearned, 'oracles': oracles, 'fresh': fresh}
    points = [
      None if losses is None else self._attack(losses)
      for losses in _checked(kinds)
    ]
    return Attack(
      accuracy=mean(points[0]),
      indiscernibility=mean(1 - 2 * np.abs(points[0] / 100 - 0.5)),
      floor=mean(points[1]),
      difference=difference(*points),
      per_model=points[0],
    )

  def _attack(self, losses: Losses) -> np.ndarray:
    """Accuracy in points of each model, [models]."""
    many = min(x.shape[1] for x in losses)
    tested = max(1, int(np.ceil(_TESTED * many)))
    rng = np.random.default_rng(self.seed)
    # One draw of each kind, and from it every split.
    kinds = [np.sort(x, axis=1) for x in losses]
    kinds = [x[:, rng.permutation(x.shape[1])[:many]] for x in kinds]
    places = [
      [rng.permutation(many) for _ in range(self.splits)] for _ in kinds
    ]
    both = np.stack(
      [x[:, p] for x, p in zip(kinds, places, strict=True)], axis=2
    )
    right = []
    for model in both:  # [splits, kinds, many]
      slope, middle = _fit(model[..., tested:])
      says = slope[:, None, None] * model[..., :tested] + middle[:, None, None]
      right.append(np.mean((says > 0) == np.array([[True], [False]])))
    return 100 * np.array(right)


def make(*, splits: int = 10, seed: int = 0) -> MiaLogistic:
  """The attack, the mean over `splits` of what is fitted and what is tried."""
  if splits < 1:
    raise errors.ConfigError(f'splits must be 1 or more, got {splits}')
  return MiaLogistic(splits=splits, seed=seed)


def null(seed: int, *, models: int = 4, forget: int = 70, unseen: int = 90):
  """Models that saw none of the examples."""
  draw = np.random.default_rng(seed).exponential
  return {
    name: Losses(draw(size=(models, forget)), draw(size=(models, unseen)))
    for name in ('unlearned', 'oracles')
  }


def floor(trials: int) -> Interval:
  """Points of a coin tossed for each of `trials` examples of both kinds."""
  at_least('trials', trials, 1)
  low, high = scipy.stats.binom.interval(COVERAGE, trials, 0.5)
  return Interval(50.0, float(100 * low / trials), float(100 * high / trials))


def _checked(kinds):
  found = {}
  for name, losses in kinds.items():
    found[name] = None
    if losses is not None:
      found[name] = Losses(
        *(
          numbers(f'{name}.{field}', x, 2, finite=True).astype(np.float64)
          for field, x in zip(Losses._fields, losses, strict=True)
        )
      )
  shapes = {
    name: [x.shape for x in losses] for name, losses in found.items() if losses
  }
  models = len(found['unlearned'].forget)
  expected = [(models, x.shape[1]) for x in found['oracles']]
  if any(shape != expected for shape in shapes.values()):
    raise errors.DataError(
      f'all must have as many models and the same examples, got {shapes}'
    )
  at_least('examples of a kind', min(n for _, n in expected), 2)
  return list(found.values())


def _fit(values):
  """Slope and middle of each regression, [splits], of [splits, 2, n].

  The first of the two is the positive kind. The penalty is half the squared
  slope, which keeps it finite where the kinds are told apart.
  """
  sign = np.array([[1.0], [-1.0]])
  target = (sign + 1) / 2
  at = np.zeros((2, len(values)))  # slope and middle

  def outputs(at):
    return at[0][:, None, None] * values + at[1][:, None, None]

  def cost(at):
    losses = np.logaddexp(0, -sign * outputs(at)).sum(axis=(1, 2))
    return losses + at[0] ** 2 / 2

  now = cost(at)
  for _ in range(_STEPS):
    p = scipy.special.expit(outputs(at))
    error, weight = p - target, p * (1 - p)
    slope = (error * values).sum(axis=(1, 2)) + at[0]
    middle = error.sum(axis=(1, 2))
    ss = (weight * values**2).sum(axis=(1, 2)) + 1
    sm, mm = (weight * values).sum(axis=(1, 2)), weight.sum(axis=(1, 2)) + 1e-12
    step = np.stack([mm * slope - sm * middle, ss * middle - sm * slope])
    step /= ss * mm - sm**2
    far = np.ones(len(values))
    # Newton may go too far: half as far, where the cost does not fall.
    for _ in range(30):
      then = cost(at - far * step)
      if (then <= now + 1e-12 * np.abs(now)).all():
        break
      far = np.where(then <= now + 1e-12 * np.abs(now), far, far / 2)
    at, now = at - far * step, then
    if np.abs(step).max() < _SMALL:
      return at
  raise errors.DataError(
    f'logistic regressions on {values.shape} losses are not solved in {_STEPS} '
    'steps'
  )
