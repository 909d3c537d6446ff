"""Accuracy on one split, in points, beside that of the oracle.

On the retained and the test examples these are RA and TA; `wrong=True` on the
forget set is UA, 100 less the accuracy. None is better higher: the oracle's is
right. Class-wise tables of others leave the forgotten class out of the test
set: `without=c` does, and without it TA covers every class, the forgotten one
shown among `per_class`. For a regression it is the mean absolute error, in
units of the target.
"""

import dataclasses

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._difference import (
  Difference,
  binomial_floor,
  difference,
)
from unlearn_jax.metrics._words import flags, numbers

IDEAL = 0.0
COST = 'unlearned + oracle'
TASKS = ('classification', 'regression')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Levels(Difference):
  """Accuracy in points, or the absolute error, and each class by itself."""

  per_class: np.ndarray | None  # [models, classes] of the unlearned; NaN: none
  per_class_oracles: np.ndarray | None
  without: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
  """The metric; `make` builds it."""

  task: str
  wrong: bool
  without: int | None

  def __call__(
    self, *, unlearned, oracles, labels, fresh=None, real=None
  ) -> Levels:
    """Compares outputs [models, examples, outputs] with `labels`.

    Of a regression the labels are targets [examples, outputs]. Examples that
    are not `real` (bool, of the shape of the labels) are padding: whatever
    they hold, they count for nothing.
    """
    outputs, real = _checked(real, unlearned, oracles, fresh)
    per_class = [None, None]
    if self.task == 'regression':
      target = _targets(labels, outputs[0], real)
      points = _outputs.each(lambda x: np.abs(x - target).mean(axis=2), outputs)
    else:
      y = _outputs.labels('labels', labels, outputs[0], real)
      points = _outputs.each(
        lambda x: 100.0 * (_outputs.right(x, y) != self.wrong), outputs
      )
      classes = outputs[0].shape[2]
      per_class = [_per_class(x, y, real, classes) for x in points[:2]]
      if self.without is not None:
        real = real & (y != self.without)
    if not real.any(axis=1).all():
      raise errors.DataError('a model has no example that counts')
    found = difference(*_outputs.each(lambda x: _mean(x, real), points))
    return Levels(
      **vars(found),
      per_class=per_class[0],
      per_class_oracles=per_class[1],
      without=self.without,
    )


def make(
  *,
  task: str = 'classification',
  wrong: bool = False,
  without: int | None = None,
) -> Accuracy:
  """The metric.

  Args:
    task: 'classification', or 'regression' for the absolute error.
    wrong: counts errors instead, as UA does.
    without: a class whose examples do not count.
  """
  errors.check_choice('task', task, TASKS)
  if task == 'regression' and (wrong or without is not None):
    raise errors.ConfigError(
      f'wrong={wrong} and without={without} are of a classification'
    )
  return Accuracy(task=task, wrong=wrong, without=without)


def null(seed: int, *, models: int = 8, examples: int = 100) -> dict:
  """Models that only differ by chance."""
  return {
    **_outputs.null(seed, models=models, examples=examples),
    'labels': _outputs.null_labels(seed, examples=examples),
  }


floor = binomial_floor


def _checked(real, *outputs):
  """Outputs with zeros for padding, which may hold NaN; `real` of each model."""
  names = ('unlearned', 'oracles', 'fresh')
  shape = np.shape(outputs[0])[:2]
  if real is None:
    real = np.ones(shape, bool)
  else:
    given = np.asarray(real)
    per_model = given.ndim == 2
    real = np.broadcast_to(
      flags('real', given, shape if per_model else shape[1:]), shape
    )
    outputs = [
      _silenced(name, x, real) for name, x in zip(names, outputs, strict=True)
    ]
  return _outputs.alike(3, **dict(zip(names, outputs, strict=True))), real


def _silenced(name, outputs, real):
  if outputs is None:
    return None
  outputs = np.asarray(outputs)
  if outputs.ndim != 3 or outputs.shape[:2] != real.shape:
    raise errors.DataError(
      f'{name} must have 3 axes, of the models and examples {real.shape}; got '
      f'{outputs.shape}'
    )
  return np.where(real[:, :, None], outputs, 0)


def _targets(y, outputs, real) -> np.ndarray:
  y = np.asarray(y)
  if y.shape not in (outputs.shape, outputs.shape[1:]):
    raise errors.DataError(
      f'targets {y.shape} must be of the outputs {outputs.shape}'
    )
  y = np.where(real[:, :, None], np.broadcast_to(y, outputs.shape), 0)
  return numbers('labels', y, 3, finite=True)


def _mean(values, real) -> np.ndarray:
  return np.sum(values, axis=1, where=real) / real.sum(axis=1)


def _per_class(values, y, real, classes: int) -> np.ndarray:
  """[models, classes] the mean of each class; NaN where it has no example."""
  models = len(values)
  cell = (y + classes * np.arange(models)[:, None])[real]
  sums = np.bincount(cell, values[real], minlength=models * classes)
  counts = np.bincount(cell, minlength=models * classes)
  means = np.full(models * classes, np.nan)
  np.divide(sums, counts, out=means, where=counts > 0)
  return means.reshape(models, classes)
