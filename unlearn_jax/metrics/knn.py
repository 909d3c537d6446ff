"""k-NN transfer: how well frozen features tell classes apart, as the oracle's.

Each held-out example gets the class of most of its 5 nearest neighbors by the
cosine of features; the accuracy in points, against the oracle's. On the
forgotten classes it shows what an edit of the head has left behind. A keyed
hash of the ids decides which fifth is held out, never the order of examples.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, keys
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._difference import (
  Difference,
  binomial_floor,
  difference,
)
from unlearn_jax.metrics._words import at_least

IDEAL = 0.0
COST = 'unlearned + oracle'
_TRAIN = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knn:
  """The metric; `make` builds it."""

  k: int
  seed: int

  def __call__(
    self, *, unlearned, oracles, labels, ids, fresh=None
  ) -> Difference:
    """Compares features [models, examples, features].

    `labels` and `ids` are [examples], integers or, the ids, strings too.
    """
    sides = _outputs.alike(3, unlearned=unlearned, oracles=oracles, fresh=fresh)
    examples = sides[0].shape[1]
    labels, ids = _row('labels', labels, examples), _row('ids', ids, examples)
    if labels.dtype.kind not in 'iu' or len(np.unique(ids)) != examples:
      raise errors.DataError(
        f'labels must be integers, got {labels.dtype}; ids must be unique, '
        f'{len(np.unique(ids))} of {examples} are'
      )
    # From here on the order is that of the ids, so equal distances are broken
    # the same way whatever order the examples came in.
    order = keys.order(ids, f'{self.seed}/k-NN')
    split = int(_TRAIN * examples)
    at_least('examples to look for neighbors in', split, self.k)
    classes, y = np.unique(labels[order], return_inverse=True)
    return difference(
      *_outputs.each(
        lambda x: _accuracy(x[:, order], y, split, self.k, len(classes)), sides
      )
    )


def make(*, k: int = 5, seed: int = 0) -> Knn:
  """The metric with `k` neighbors; `seed` of which examples are held out."""
  at_least('k', k, 1)
  return Knn(k=k, seed=seed)


def null(
  seed: int, *, models: int = 8, examples: int = 200, features: int = 6
) -> dict:
  """Features of models that only differ by chance."""
  draw = np.random.default_rng(seed).normal
  common = draw(size=(examples, features))
  return {
    'unlearned': common + draw(size=(models, examples, features)),
    'oracles': common + draw(size=(models, examples, features)),
    'labels': np.argmax(common, axis=1),
    'ids': np.arange(examples),
  }


floor = binomial_floor


def _row(name, array, examples) -> np.ndarray:
  array = np.asarray(array)
  if array.shape != (examples,):
    raise errors.DataError(
      f'{name} must be of the {examples} examples, got the shape {array.shape}'
    )
  return array


def _accuracy(features, y, split: int, k: int, classes: int) -> np.ndarray:
  """[models] the accuracy in points on the examples from `split` on."""
  features = np.asarray(features, np.float32)
  near = np.asarray(_nearest(features[:, :split], features[:, split:], k))
  votes = np.sum(y[near][..., None] == np.arange(classes), axis=2)
  return 100 * np.mean(np.argmax(votes, axis=2) == y[split:], axis=1)


@functools.partial(jax.jit, static_argnames='k')
def _nearest(known, asked, k: int) -> jax.Array:
  """[models, asked, k] positions among the known."""

  def of_a_model(pair):
    known, asked = (
      x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-30)
      for x in pair
    )
    cosine = jnp.matmul(asked, known.T, precision='highest')
    return jax.lax.top_k(cosine, k)[1]

  return jax.lax.map(of_a_model, (known, asked))
