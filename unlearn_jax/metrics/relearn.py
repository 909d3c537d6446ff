"""Relearning: how soon does a model know again what it was to forget?

Unlearned models and oracles are fine-tuned on the forget set, on copies and
over the same orders of the data. AIN, the anamnesis index and the value, is
the number of steps until the loss is at most 1.05 times the original's, over
those of the oracle: 1 is ideal, far below 1 something was left. Relearn times
are the steps to parts of the original's accuracy.

Curves end at a cap. A run that does not arrive is shown as "> cap", counts in
the AIN as if it had arrived there, and makes that a bound: it is then never
called equal to retraining.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._paired import Paired, compare
from unlearn_jax.metrics._words import Interval, at_least

IDEAL = 1.0
COST = 'unlearned + oracle, each fine-tuned 5 times'
LEVELS = (0.5, 0.75, 0.95)  # of the original's accuracy
_SLACK = 1.05  # times the original's loss


class Curves(NamedTuple):
  """On the forget set before the first step and after each."""

  loss: np.ndarray  # [models, orders, 1 + steps]
  accuracy: np.ndarray | None  # the same; None for a regression


class Steps(NamedTuple):
  """Steps until a level is reached, [models, orders]; inf where it is not."""

  unlearned: np.ndarray
  oracles: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relearned(Paired):
  """The AIN, and all that it hides."""

  to_loss: Steps  # what the AIN is made of
  to_accuracy: dict[float, Steps]  # by part of the original's accuracy
  cap: int

  @property
  def censored(self) -> Steps:
    """Runs that did not arrive at the loss, of both kinds."""
    return Steps(*(int(np.isinf(x).sum()) for x in self.to_loss))

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have scored the same; a bound shows no such."""
    return not any(self.censored) and super().at_floor

  @property
  def shown(self) -> str:
    """The AIN with what is known of it."""
    late = self.censored
    sign = {
      (False, False): '',
      (True, False): '> ',
      (False, True): '< ',
      (True, True): '? ',
    }[late.unlearned > 0, late.oracles > 0]
    return f'{sign}{self.value.value:.3g}'


def measure(*, unlearned, oracles, original, fresh=None) -> Relearned:
  """Compares `Curves`; of the `original` only what stands before any step."""
  sides = {'unlearned': unlearned, 'oracles': oracles, 'fresh': fresh}
  loss, start = _checked('loss', sides, original)
  cap = loss[0].shape[2] - 1
  steps = _outputs.each(lambda x: _first(x <= _SLACK * start), loss)
  found = compare(_ratio, *_outputs.each(lambda x: np.minimum(x, cap), steps))
  to_accuracy = {}
  if original.accuracy is not None:
    accuracy, start = _checked('accuracy', sides, original)
    for level in LEVELS:
      reached = [_first(x >= level * start) for x in accuracy[:2]]
      to_accuracy[level] = Steps(*reached)
  return Relearned(
    **vars(found),
    to_loss=Steps(*steps[:2]),
    to_accuracy=to_accuracy,
    cap=cap,
  )


def make():
  """The metric; it has no settings."""
  return measure


def shown(steps: np.ndarray, cap: int) -> np.ndarray:
  """Steps as text: those that did not arrive as "> cap"."""
  text = np.where(np.isinf(steps), cap, steps).astype(int).astype(str)
  return np.where(np.isinf(steps), np.char.add('> ', text), text)


def null(seed: int, *, models: int = 8, orders: int = 5, steps: int = 30):
  """Curves of models that only differ by chance."""
  rng = np.random.default_rng(seed)

  def curves(steps):
    speed = rng.uniform(0.2, 0.4, size=(models, orders, 1))
    left = np.exp(-speed * np.arange(steps + 1))
    return Curves(0.1 + 2 * left, 0.9 - 0.8 * left)

  original = np.ones((models, 1, 1))
  return {
    'unlearned': curves(steps),
    'oracles': curves(steps),
    'original': Curves(0.15 * original, 0.9 * original),
  }


def floor(models: int) -> Interval:
  """What so many models of `null` show; real oracles are in the result."""
  at_least('models', models, 2)
  return measure(**null(0, models=models)).floor


def _checked(kind: str, sides, original):
  """The curves of one kind, and where the original stands, [models, 1, 1]."""
  curves = _outputs.of_split(kind, **sides)
  (start,) = _outputs.of_split(kind, original=original)
  if curves[0].shape[2] < 2 or len(start) != len(curves[0]):
    raise errors.DataError(
      f'{kind} curves need a step and an original of each model, got '
      f'{curves[0].shape} and, of originals, {start.shape}'
    )
  return curves, start[:, :1, :1]


def _first(reached: np.ndarray) -> np.ndarray:
  """[models, orders] the first step, from 1 on, that reached it; else inf."""
  reached = reached[:, :, 1:]
  first = 1.0 + np.argmax(reached, axis=2)
  return np.where(reached.any(axis=2), first, np.inf)


def _ratio(unlearned, oracles) -> np.ndarray:
  return unlearned.mean(axis=1) / oracles.mean(axis=1)
