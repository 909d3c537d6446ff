"""Outputs of many models on the same examples, checked.

Logits and predictions are [models, examples, outputs]; labels are [examples],
or [models, examples] where each model is asked about examples of its own.
"""

import numpy as np
import scipy.special

from unlearn_jax import errors
from unlearn_jax.metrics._words import numbers


def alike(ndim: int, **arrays) -> list:
  """The arrays, if they are finite and of one shape; None stays None."""
  checked = {
    name: None if array is None else numbers(name, array, ndim, finite=True)
    for name, array in arrays.items()
  }
  shapes = {n: array.shape for n, array in checked.items() if array is not None}
  if len(set(shapes.values())) > 1:
    raise errors.DataError(f'arrays must have one shape, got {shapes}')
  return list(checked.values())


def of_split(split: str, **sides) -> list:
  """The logits that each side has of one split, checked; None stays None."""
  return alike(
    3,
    **{
      f'{split} of {name}': None if side is None else getattr(side, split)
      for name, side in sides.items()
    },
  )


def each(function, arrays) -> list:
  """`function` of every array; None stays None."""
  return [None if array is None else function(array) for array in arrays]


def labels(name: str, y, logits: np.ndarray, real=None) -> np.ndarray:
  """`y` as [models, examples], if every label is one of the outputs.

  Labels of examples that are not `real` [models, examples] are not looked at.
  """
  y, (models, examples, classes) = np.asarray(y), logits.shape
  if y.dtype.kind not in 'iu' or y.shape not in (
    (examples,),
    (models, examples),
  ):
    raise errors.DataError(
      f'{name} must be integers of shape {(examples,)} or '
      f'{(models, examples)}, as the outputs {logits.shape}; got {y.dtype} '
      f'{y.shape}'
    )
  y = np.broadcast_to(y, (models, examples))
  if real is not None:
    y = np.where(real, y, 0)
  if y.min() < 0 or y.max() >= classes:
    raise errors.DataError(
      f'{name} of {classes} outputs are 0..{classes - 1}, got '
      f'{y.min()}..{y.max()}'
    )
  return y


def right(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
  """[models, examples] whether the largest logit is the label's."""
  return np.argmax(logits, axis=-1) == y


def log_probabilities(logits) -> np.ndarray:
  return scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)


def probabilities(logits) -> np.ndarray:
  return np.exp(log_probabilities(logits))


def jensen_shannon(p, q) -> np.ndarray:
  """JSD of distributions on the last axis in bits, from 0 to 1."""
  entropy = [scipy.special.entr(x).sum(axis=-1) for x in (p, q, (p + q) / 2)]
  nats = entropy[2] - (entropy[0] + entropy[1]) / 2
  return np.clip(nats / np.log(2), 0, 1)


def null(seed: int, *, models: int = 8, examples: int = 100, classes: int = 5):
  """Logits of models that only differ by chance."""
  draw = np.random.default_rng(seed).normal
  common = 2 * draw(size=(examples, classes))
  return {
    name: common + draw(size=(models, examples, classes))
    for name in ('unlearned', 'oracles')
  }


def null_labels(seed: int, *, examples: int = 100, classes: int = 5):
  """Labels that the models of `null` are often right about."""
  draw = np.random.default_rng(seed).normal
  return np.argmax(draw(size=(examples, classes)), axis=1)


def null_of_splits(seed: int, outputs, labels, **sizes) -> dict:
  """The same for a pair of splits, in the tuples `outputs` and `labels`."""
  seeds = (2 * seed, 2 * seed + 1)
  logits = [null(one, **sizes) for one in seeds]
  sizes.pop('models', None)
  return {
    **{
      name: outputs(*(split[name] for split in logits))
      for name in ('unlearned', 'oracles')
    },
    'labels': labels(*(null_labels(one, **sizes) for one in seeds)),
  }
