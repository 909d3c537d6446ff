"""One-run audit: what coins say about each model by itself.

Every canary is put into the original training by a fair coin of its own, and
those that were are then unlearned. From the scores of one unlearned model the
attacker says of the highest "was in", of the lowest "was out", and abstains in
between. If what is left of a canary changes the law of the model by a factor of
at most e^epsilon, up to delta, then of r guesses at least v are right with a
chance of at most

  P[B >= v] + 2 m delta max_i P[v - i <= B < v] / i,  B ~ Bin(r, e^eps / (1 + e^eps))

for m canaries, i from 1 to v (Steinke, Nasr & Jagielski, 2023, "Privacy auditing
with one (1) training run", Theorem 5.2). At epsilon = 0 that is the p-value of
perfect unlearning; the largest epsilon with a chance of at most 5 % is the
bound. It is a lower bound: an attacker who fails proves nothing, so the interval
has no upper end. Coins and guesses of independent models are counted together.

How many guesses are made is settled before, and a score that is tied across the
line is no guess. Scores that are compared across canaries should have their
difficulty taken out, such as margins less the mean of oracles.
"""

import dataclasses

import numpy as np
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics._words import (
  COVERAGE,
  Interval,
  at_least,
  flags,
  numbers,
)

IDEAL = 0.0
COST = 'unlearned, of originals trained with coins'
_HALVINGS = 50
_MOST = 50.0  # epsilon beyond it is not told apart


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
  """The bound, and the guesses it comes from."""

  epsilon: Interval  # the 95 % lower bound; no upper end
  p_value: float  # of these guesses if nothing is left
  floor: Interval  # bounds of as many coin tosses
  per_model: np.ndarray  # [models] the bound of each by itself
  accuracy: float  # of the guesses
  right: int
  guesses: int
  canaries: int  # of all models
  delta: float

  @property
  def value(self) -> Interval:
    return self.epsilon

  @property
  def at_floor(self) -> bool:
    """Whether coin tosses could have been as right."""
    return self.epsilon.value <= self.floor.high


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneRunAudit:
  """The audit; `make` builds it."""

  share: float
  delta: float

  def __call__(self, *, scores, included) -> Audit:
    """Audits scores [models, canaries]; high is what was trained on.

    `included` [models, canaries] are the coins.
    """
    scores = numbers('scores', scores, 2)
    included = flags('included', included, scores.shape)
    at_least('canaries', scores.shape[1], 2)
    high, low = _guesses(scores, self.share)
    right = (high & included).sum(axis=1) + (low & ~included).sum(axis=1)
    guesses = (high | low).sum(axis=1)
    bound = self._bound(right.sum(), guesses.sum(), scores.size)
    return Audit(
      epsilon=Interval(bound, bound, np.inf),
      p_value=chance(
        right.sum(), guesses.sum(), canaries=scores.size, delta=self.delta
      ),
      floor=floor(max(1, int(guesses.sum()))),
      per_model=np.array(
        [
          self._bound(v, r, scores.shape[1])
          for v, r in zip(right, guesses, strict=True)
        ]
      ),
      accuracy=float(right.sum() / guesses.sum()) if guesses.any() else 0.5,
      right=int(right.sum()),
      guesses=int(guesses.sum()),
      canaries=scores.size,
      delta=self.delta,
    )

  def _bound(self, right, guesses, canaries) -> float:
    return bound(int(right), int(guesses), canaries=canaries, delta=self.delta)


def make(*, share: float = 0.5, delta: float = 0.0) -> OneRunAudit:
  """The audit that guesses `share` of the canaries, half of them each way."""
  if not 0 < share <= 1:
    raise errors.ConfigError(f'share must be in (0, 1], got {share}')
  errors.check_fraction('delta', delta)
  return OneRunAudit(share=share, delta=delta)


def null(seed: int, *, models: int = 4, canaries: int = 61) -> dict:
  """Models that say nothing of the coins."""
  rng = np.random.default_rng(seed)
  return {
    'scores': rng.normal(size=(models, canaries)),
    'included': rng.random((models, canaries)) < 0.5,
  }


def floor(trials: int) -> Interval:
  """Bounds of `trials` coin tosses: nearly always 0, 2.5 % beyond the end."""
  at_least('trials', trials, 1)
  most = int(scipy.stats.binom.ppf((1 + COVERAGE) / 2, trials, 0.5))
  return Interval(0.0, 0.0, bound(most, trials))


def chance(
  right: int,
  guesses: int,
  epsilon: float = 0.0,
  *,
  canaries: int = 0,
  delta: float = 0.0,
) -> float:
  """The most that so many right guesses can be likely, given epsilon, delta."""
  rate = 1 / (1 + np.exp(-epsilon))
  likely = scipy.stats.binom.sf(right - 1, guesses, rate)
  if delta and right:
    near = scipy.stats.binom.pmf(np.arange(right)[::-1], guesses, rate)
    worst = np.max(np.cumsum(near) / np.arange(1, right + 1))
    likely += 2 * canaries * delta * worst
  return float(min(likely, 1.0))


def bound(
  right: int, guesses: int, *, canaries: int = 0, delta: float = 0.0
) -> float:
  """The largest epsilon that so many right guesses refute; 0 if none."""
  unlikely = 1 - COVERAGE

  def refuted(epsilon):
    likely = chance(right, guesses, epsilon, canaries=canaries, delta=delta)
    return likely <= unlikely

  if not guesses or not refuted(0.0):
    return 0.0
  low, high = 0.0, _MOST
  for _ in range(_HALVINGS):
    middle = (low + high) / 2
    low, high = (middle, high) if refuted(middle) else (low, middle)
  return low


def _guesses(scores, share: float):
  """Which canaries are said to have been in, and which out."""
  many = scores.shape[1]
  each = max(1, int(share * many / 2))
  ordered = np.sort(scores, axis=1)
  # Strictly beyond the first that is left out, so a tie is no guess.
  if 2 * each == many:
    middle = (ordered[:, each - 1] + ordered[:, each])[:, None] / 2
    return scores > middle, scores < middle
  return scores > ordered[:, [-each - 1]], scores < ordered[:, [each]]
