"""U-LiRA: can an attacker tell a forgotten example from one never seen?

For each example two Gaussians are fitted to margins: of shadow models that
trained on it and then unlearned it, and of original models that never saw it.
A held-out unlearned model says "forgotten" where the first is likelier; the
score is how often that is right over its forgotten examples and as many that
it never saw. .5 is ideal, 1 is no unlearning, and an attacker whose fits are
off can fall below .5.

Masks belong to ORIGINAL models, of which one is unlearned many times. Here an
unlearning only says which original it came from, by id, and never has a
training mask of its own; one that forgets what its original never saw is
refused, so masks in another order do not pass unseen.

Models that all saw everything and all forget one set have no points that they
never saw: `retrained_game.py` is the attack on those.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics import _gaussian, _roc
from unlearn_jax.metrics._words import (
  COVERAGE,
  MARGIN_LIMIT,
  Interval,
  at_least,
  flags,
  numbers,
  percentile,
)

IDEAL = 0.5
COST = '64 originals or more, each unlearned several times'


class Originals(NamedTuple):
  """Models before any unlearning, one row each."""

  ids: Sequence[Hashable]  # [originals], unique
  trained: np.ndarray  # [originals, points] bool: saw the point
  margins: np.ndarray  # [originals, points]


class Unlearnings(NamedTuple):
  """Models after unlearning, one row each; several may share an original."""

  original: Sequence[Hashable]  # [unlearnings] ids of originals
  forgotten: np.ndarray  # [unlearnings, points] bool: asked to be forgotten
  margins: np.ndarray  # [unlearnings, points]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
  """What the attacker achieves."""

  accuracy: Interval  # over the originals attacked
  auc: float
  tpr: dict[float, float]  # at a false positive rate of at most the key
  floor: Interval  # of as many coin tosses
  trials: int  # answers, half of them about forgotten examples
  attacked: int  # unlearned models
  shadows: tuple[int, int]  # fewest and most models in one fit

  @property
  def value(self) -> Interval:
    return self.accuracy

  @property
  def at_floor(self) -> bool:
    """Whether coin tosses could have been as right."""
    return self.accuracy.low <= self.floor.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ulira:
  """The population attack; `make` builds it."""

  limit: int
  fprs: tuple[float, ...]
  resamples: int
  seed: int

  def __call__(self, *, originals, unlearnings, targets) -> Attack:
    """Attacks every unlearning of the originals whose ids are `targets`.

    All other originals, and their unlearnings, are the shadows.
    """
    originals, unlearnings, origin = _checked(originals, unlearnings)
    held_out = np.unique(_positions(originals.ids, targets, 'target'))
    at_least('targets', len(held_out), 2)
    attacked = np.isin(origin, held_out)
    if attacked.all() or not attacked.any():
      raise errors.DataError(
        f'{attacked.sum()} of {len(origin)} unlearnings are of targets: some '
        'must be, and some must be left as shadows'
      )
    rng = np.random.default_rng(self.seed)
    never = ~originals.trained
    rows = _balanced(
      unlearnings.forgotten[attacked], never[origin[attacked]], rng
    )
    shadow = np.ones(len(originals.ids), bool)
    shadow[held_out] = False
    fits, counts = self._fits(
      (unlearnings.margins[~attacked], unlearnings.forgotten[~attacked]),
      (originals.margins[shadow], never[shadow]),
      rows.any(axis=(0, 1)),
      rng,
    )
    margins = unlearnings.margins[attacked]
    scores = _gaussian.log_density(margins, *fits[0]) - _gaussian.log_density(
      margins, *fits[1]
    )
    return self._attack(scores, *rows, origin[attacked], counts, rng)

  def _fits(self, unlearned, never_seen, needed, rng):
    """Mean and deviation of each point for both kinds, from equal counts."""
    kinds = (unlearned, never_seen)
    count = np.minimum(*(eligible.sum(axis=0) for _, eligible in kinds))
    count = np.minimum(count, self.limit)
    few = np.flatnonzero(needed & (count < 2))
    if len(few):
      raise errors.DataError(
        f'{len(few)} attacked points have fewer than 2 shadows of a kind, '
        f'the first at {few[0]}: take more models or fewer targets'
      )
    fits = []
    for margins, eligible in kinds:
      used = _choose(eligible, count, 0, rng)
      size = np.maximum(count, 1)
      mean = np.sum(margins, axis=0, where=used) / size
      square = np.sum((margins - mean) ** 2, axis=0, where=used)
      deviation = np.sqrt(square / np.maximum(count - 1, 1))
      fits.append((mean, np.maximum(deviation, _gaussian.NARROWEST)))
    return fits, count[needed]

  def _attack(self, scores, forgotten, never, origin, counts, rng) -> Attack:
    yes, no = scores[forgotten][None], scores[never][None]
    right = np.sum(forgotten & (scores > 0), 1) + np.sum(
      never & (scores <= 0), 1
    )
    asked = forgotten.sum(axis=1) + never.sum(axis=1)
    # Unlearnings of one original are not independent: whole originals are
    # drawn again.
    _, group = np.unique(origin, return_inverse=True)
    right, groups = np.bincount(group, right), np.bincount(group, asked)
    draw = rng.integers(len(right), size=(self.resamples, len(right)))
    again = right[draw].sum(axis=1) / groups[draw].sum(axis=1)
    return Attack(
      accuracy=percentile(right.sum() / asked.sum(), again),
      auc=float(_roc.auc(yes, no)[0]),
      tpr={fpr: float(_roc.tpr(yes, no, fpr)[0]) for fpr in self.fprs},
      floor=floor(int(asked.sum())),
      trials=int(asked.sum()),
      attacked=len(scores),
      shadows=(int(counts.min()), int(counts.max())),
    )


def make(
  *,
  limit: int = 300,
  fprs: Sequence[float] = (0.05, 0.01),
  resamples: int = 1000,
  seed: int = 0,
) -> Ulira:
  """The attack with at most `limit` shadows of each kind in a fit."""
  at_least('limit', limit, 2)
  at_least('resamples', resamples, 2)
  for fpr in fprs:
    errors.check_fraction('fpr', fpr)
  return Ulira(limit=limit, fprs=tuple(fprs), resamples=resamples, seed=seed)


def null(seed: int, *, models: int = 60, points: int = 60) -> dict:
  """Models whose margins do not depend on what they saw."""
  rng = np.random.default_rng(seed)
  trained = rng.random((models, points)) < 0.5
  origin = np.repeat(np.arange(models), 2)
  forgotten = trained[origin] & (rng.random((len(origin), points)) < 0.3)
  return {
    'originals': Originals(
      np.arange(models), trained, rng.normal(size=trained.shape)
    ),
    'unlearnings': Unlearnings(
      origin, forgotten, rng.normal(size=forgotten.shape)
    ),
    'targets': np.arange(models // 3),
  }


def floor(trials: int) -> Interval:
  """The accuracy of tossing a coin `trials` times: .5 and its 95 % range.

  Answers of one model are not independent: the true range is wider, never
  narrower.
  """
  at_least('trials', trials, 1)
  low, high = scipy.stats.binom.interval(COVERAGE, trials, 0.5)
  return Interval(0.5, float(low / trials), float(high / trials))


def _checked(originals, unlearnings):
  """Both with checked arrays, and the row of each unlearning's original."""
  ids, trained, margins = originals
  margins = _clipped('margins of originals', margins)
  trained = flags('trained', trained, margins.shape)
  if len(ids) != len(margins) or len(set(_plain(ids))) != len(ids):
    raise errors.DataError(
      f'{len(margins)} originals need as many ids, each once; got {len(ids)}, '
      f'{len(set(_plain(ids)))} different'
    )
  origin_ids, forgotten, after = unlearnings
  after = _clipped('margins of unlearnings', after)
  forgotten = flags('forgotten', forgotten, after.shape)
  if len(origin_ids) != len(after) or after.shape[1] != margins.shape[1]:
    raise errors.DataError(
      f'unlearnings {after.shape} name {len(origin_ids)} originals; each must '
      f'name one, and have the points of originals {margins.shape}'
    )
  origin = _positions(ids, origin_ids, 'original')
  strange = np.argwhere(forgotten & ~trained[origin])
  if len(strange):
    row, point = strange[0]
    raise errors.DataError(
      f'unlearning {row} forgets point {point}, which its original '
      f'{_plain(origin_ids)[row]!r} never saw ({len(strange)} such pairs): '
      'masks are those of the originals, by their ids'
    )
  return (
    Originals(ids, trained, margins),
    Unlearnings(origin_ids, forgotten, after),
    origin,
  )


def _clipped(name, margins):
  margins = numbers(name, margins, 2).astype(np.float64)
  if margins.any() and np.isin(margins, (0, 1)).all():
    raise errors.DataError(
      f'{name} are only 0 and 1, as whether an answer is right: no Gaussian '
      'is fitted to those'
    )
  return np.clip(margins, -MARGIN_LIMIT, MARGIN_LIMIT)


def _plain(ids) -> list:
  return np.asarray(ids).tolist()


def _positions(ids, wanted, what):
  """Rows of the `wanted` ids."""
  row = {name: i for i, name in enumerate(_plain(ids))}
  unknown = [name for name in _plain(wanted) if name not in row]
  if unknown:
    raise errors.UnknownId(
      f'{len(unknown)} ids of a {what} are of no original, first {unknown[0]!r}'
    )
  return np.array([row[name] for name in _plain(wanted)], int)


def _choose(eligible, count, axis, rng):
  """`count` of the eligible entries along `axis`, at random, as a mask."""
  lot = np.where(eligible, rng.random(eligible.shape), np.inf)
  place = np.argsort(np.argsort(lot, axis=axis), axis=axis)
  return eligible & (place < np.expand_dims(count, axis))


def _balanced(forgotten, never, rng):
  """As many forgotten as never seen points of each model."""
  count = np.minimum(forgotten.sum(axis=1), never.sum(axis=1))
  if not count.any():
    raise errors.DataError(
      'no attacked model has both a forgotten and a never seen point'
    )
  return np.stack([_choose(x, count, 1, rng) for x in (forgotten, never)])
