"""ZRF, the zero retrain forgetting score: are answers like a random net's?

One less the Jensen-Shannon divergence, in bits, between a model and untrained
nets on the forget set, the mean over examples and nets: 1 is an untrained net.
The value is the difference to the oracle's score, for an oracle is far from
random wherever the other data say what a forgotten example is.

`legacy` is that of the code of bad-teaching and SSD: natural logarithms, the
two arguments of the KL reversed, and the mean taken over classes too, which
brings every score near 1 where there are many.
"""

import dataclasses

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._difference import Difference, difference
from unlearn_jax.metrics._words import Interval, at_least

IDEAL = 0.0
COST = 'unlearned + oracle + 5 random nets'
MODES = ('corrected', 'legacy')
_NETS = 5  # one net may be anything: the mean of few is not repeatable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores(Difference):
  """The scores of both, in [0, 1], and their difference."""

  mode: str
  nets: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Zrf:
  """The metric; `make` builds it."""

  mode: str

  def __call__(self, *, unlearned, oracles, random, fresh=None) -> Scores:
    """Compares logits [models, examples, classes] on the forget set.

    `random` are those of untrained nets, [nets, examples, classes].
    """
    logits = _outputs.alike(
      3, unlearned=unlearned, oracles=oracles, fresh=fresh
    )
    (random,) = _outputs.alike(3, random=random)
    if random.shape[1:] != logits[0].shape[1:]:
      raise errors.DataError(
        f'random nets {random.shape} and unlearned models {logits[0].shape} '
        'must have the same examples and classes'
      )
    if self.mode == 'corrected':
      at_least('random nets', len(random), _NETS)
    scores = _outputs.each(lambda x: self.scores(x, random), logits)
    return Scores(**vars(difference(*scores)), mode=self.mode, nets=len(random))

  def scores(self, logits, random) -> np.ndarray:
    """The score of each model, [models]."""
    logits, random = map(_outputs.log_probabilities, (logits, random))
    divergence = _legacy if self.mode == 'legacy' else _corrected
    # A net at a time: all pairs at once would not fit where models are many.
    each = [divergence(logits, net[None]).mean(axis=1) for net in random]
    return 1 - np.mean(each, axis=0)


def make(*, mode: str = 'corrected') -> Zrf:
  """The metric; `legacy` only to compare with published tables."""
  errors.check_choice('mode of ZRF', mode, MODES)
  return Zrf(mode=mode)


def null(
  seed: int, *, models: int = 8, examples: int = 100, classes: int = 5
) -> dict:
  """Models that only differ by chance, and nearly flat random nets."""
  draw = np.random.default_rng([seed, 1]).normal
  return {
    **_outputs.null(seed, models=models, examples=examples, classes=classes),
    'random': 0.1 * draw(size=(_NETS, examples, classes)),
  }


def floor(models: int) -> Interval:
  """What so many models of `null` show; real oracles are in the result."""
  at_least('models', models, 2)
  return make()(**null(0, models=models)).floor


def _corrected(p, q):
  return _outputs.jensen_shannon(np.exp(p), np.exp(q))


def _legacy(p, q):
  """[models, examples] (KL(m || p) + KL(m || q)) / 2 over the classes."""
  log_m = np.logaddexp(p, q) - np.log(2)
  return np.mean(np.exp(log_m) * (log_m - (p + q) / 2), axis=2)
