"""Linear CKA of features: is what the last layer sees that of the oracle?

The debiased form: a ratio of unbiased estimates of HSIC (Song et al., 2012;
Nguyen et al., 2021), on all points at once. The plain form is about
d / (n + d) too high, .5 for unrelated features with as many points as
features; this one is 0 for them.

The value is against the oracle, to be read beside what oracles have among each
other. Against the original it finds edits of the head alone, which leave
every feature as it was: 1, where oracles are well below.
"""

import dataclasses

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _outputs
from unlearn_jax.metrics._paired import Paired, compare, mean
from unlearn_jax.metrics._words import Interval, at_least

IDEAL = 1.0
COST = 'unlearned + oracle + original'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cka(Paired):
  """CKA with the oracle, and of both with the original."""

  to_original: Interval
  oracles_to_original: Interval


def measure(*, unlearned, oracles, original, fresh=None) -> Cka:
  """Compares features [models, points, features] on the same points."""
  sides = _outputs.alike(
    3, unlearned=unlearned, oracles=oracles, original=original, fresh=fresh
  )
  at_least('points', sides[0].shape[1], 4)
  names = ('unlearned', 'oracle', 'original', 'fresh oracle')
  unlearned, oracles, original, fresh = (
    None if x is None else _with_norm(name, x)
    for name, x in zip(names, sides, strict=True)
  )
  return Cka(
    **vars(compare(_cka, unlearned, oracles, fresh)),
    to_original=mean(_cka(unlearned, original)),
    oracles_to_original=mean(_cka(oracles, original)),
  )


def make():
  """The metric; it has no settings."""
  return measure


def null(
  seed: int, *, models: int = 8, points: int = 60, features: int = 6
) -> dict:
  """Features of models that only differ by chance, the original's too."""
  draw = np.random.default_rng(seed).normal
  common = draw(size=(points, features))
  return {
    name: common + 0.5 * draw(size=(models, points, features))
    for name in ('unlearned', 'oracles', 'original')
  }


def floor(models: int) -> Interval:
  """What so many models of `null` show; real oracles are in the result."""
  at_least('models', models, 2)
  return measure(**null(0, models=models)).floor


def _with_norm(name, features):
  """Centered features, and the root of the HSIC of each with itself."""
  x = features - np.mean(features, axis=1, keepdims=True, dtype=np.float64)
  own = _hsic(x, x)
  # Rounding leaves a trace of constant features: 0 is never exact.
  poor = np.flatnonzero(own <= 1e-12 * np.sum(x**2, axis=(1, 2)) ** 2)
  if len(poor):
    raise errors.DataError(
      f'features of {name} {poor[0]} say nothing: they are constant, or noise '
      'on too few points'
    )
  return x, np.sqrt(own)


def _cka(first, second) -> np.ndarray:
  (x, own_x), (y, own_y) = first, second
  return _hsic(x, y) / (own_x * own_y)


def _hsic(x, y) -> np.ndarray:
  """[models] unbiased HSIC of linear kernels, up to the factor n (n - 3).

  The kernels have no diagonal; all their sums are had from the features, so
  that no matrix of points by points is made.
  """
  n = x.shape[1]
  diagonal = [np.sum(z**2, axis=2) for z in (x, y)]
  rows = [
    np.einsum('mnd,md->mn', z, z.sum(axis=1)) - own
    for z, own in zip((x, y), diagonal, strict=True)
  ]
  both = np.sum(np.matmul(x.transpose(0, 2, 1), y) ** 2, axis=(1, 2))
  both -= np.sum(diagonal[0] * diagonal[1], axis=1)
  totals = rows[0].sum(axis=1) * rows[1].sum(axis=1)
  return (
    both
    + totals / ((n - 1) * (n - 2))
    - 2 / (n - 2) * np.sum(rows[0] * rows[1], axis=1)
  )
