"""RMIA: does a model like an example more than it likes others, for no reason?

An example x scores the share of population examples z that it beats: those with
p(x|model) / p(x) >= gamma p(z|model) / p(z) (Zarifzadeh et al., 2024). p of the
label, without a model, comes from references that never saw x: their mean, and
for their being models at all ((1 + a) mean + 1 - a) / 2. The attacker is given
the best a of a grid, for each model.

.5 is ideal. An oracle has its own AUC, forgotten and unseen examples being
different ones, and gains as much from the grid: it is the floor, and who has
more is told by the `difference` of each unlearned model to its oracle.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors
from unlearn_jax.metrics import _roc
from unlearn_jax.metrics._difference import Difference, difference
from unlearn_jax.metrics._paired import mean
from unlearn_jax.metrics._words import Interval, at_least, numbers

IDEAL = 0.5
COST = 'unlearned + oracle + 1 reference or more'
GAMMAS = (1, 2, 4, 8)
FPR = 0.01
_TINY = 1e-30  # a probability of 0 divides nothing


class Chances(NamedTuple):
  """Probabilities of the label [models, examples], of three kinds of them."""

  forget: np.ndarray
  unseen: np.ndarray
  population: np.ndarray  # others that no model saw


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
  """What the attacker achieves on the unlearned models."""

  auc: Interval  # mean over models
  floor: Interval  # the same of the oracles
  difference: Difference  # of each AUC to that of its oracle
  tpr: np.ndarray  # [models] at 1 % false positives
  tpr_oracles: np.ndarray  # [models]
  a: np.ndarray  # [models] the best of the grid
  gamma: float

  @property
  def value(self) -> Interval:
    return self.auc

  @property
  def at_floor(self) -> bool:
    """Whether oracles could have been attacked as well."""
    return self.difference.at_floor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rmia:
  """The attack; `make` builds it."""

  gamma: float
  grid: tuple[float, ...]

  def __call__(self, *, unlearned, oracles, references, fresh=None) -> Attack:
    """Attacks `Chances`; `references` are those of other models.

    A reference saw none of the examples, and is none of the oracles.
    """
    kinds = {'unlearned': unlearned, 'oracles': oracles, 'fresh': fresh}
    kinds, reference = _checked(kinds, references)
    found = [None if x is None else self._attack(x, reference) for x in kinds]
    levels = [None if x is None else x[0] for x in found]
    return Attack(
      auc=mean(levels[0]),
      floor=mean(levels[1]),
      difference=difference(*levels),
      tpr=found[0][1],
      tpr_oracles=found[1][1],
      a=found[0][2],
      gamma=self.gamma,
    )

  def _attack(self, chances: Chances, reference: Chances):
    """AUC, TPR and a of each model, [models]."""
    each = []
    for a in self.grid:
      ratios = [
        mine / np.maximum(((1 + a) * other + 1 - a) / 2, _TINY)
        for mine, other in zip(chances, reference, strict=True)
      ]
      scores = [
        _share_below(ratios[2], ratio / self.gamma) for ratio in ratios[:2]
      ]
      each.append((_roc.auc(*scores), _roc.tpr(*scores, FPR)))
    aucs, tprs = np.moveaxis(each, 0, 1)
    best, models = aucs.argmax(axis=0), np.arange(aucs.shape[1])
    return aucs[best, models], tprs[best, models], np.array(self.grid)[best]


def make(
  *, gamma: float = 2, grid: Sequence[float] = (0, 0.2, 0.4, 0.6, 0.8, 1)
) -> Rmia:
  """The attack that beats others by `gamma`, with the best a of `grid`."""
  errors.check_choice('gamma', gamma, GAMMAS)
  if not grid or min(grid) < 0 or max(grid) > 1:
    raise errors.ConfigError(f'a grid holds values in [0, 1], got {grid}')
  return Rmia(gamma=gamma, grid=tuple(grid))


def null(
  seed: int,
  *,
  models: int = 4,
  forget: int = 70,
  unseen: int = 110,
  population: int = 130,
) -> dict:
  """Models that saw none of the examples."""
  rng = np.random.default_rng(seed)
  sizes = (forget, unseen, population)
  ease = [rng.normal(1, 1, size) for size in sizes]

  def chances():
    return Chances(
      *(
        1 / (1 + np.exp(-rng.normal(middle, 1, (models, len(middle)))))
        for middle in ease
      )
    )

  return {name: chances() for name in ('unlearned', 'oracles', 'references')}


def floor(trials: int) -> Interval:
  """AUC of scores that know nothing, of `trials` examples of each kind."""
  at_least('trials', trials, 1)
  reach = 1.96 * float(np.sqrt((2 * trials + 1) / (12 * trials**2)))
  return Interval(0.5, 0.5 - reach, 0.5 + reach)


def _checked(kinds, references):
  """The kinds as float64, and the mean of the references, [examples]."""
  checked = {
    name: None if x is None else _probabilities(name, x)
    for name, x in (kinds | {'references': references}).items()
  }
  reference = checked.pop('references')
  for name, chances in checked.items():
    if chances is None:
      continue
    shapes = [x.shape for x in chances]
    others = [(len(chances.forget), *x.shape[1:]) for x in reference]
    if shapes != others:
      raise errors.DataError(
        f'{name} {shapes} must have as many models in each, and the examples '
        f'of references {[x.shape for x in reference]}'
      )
  return list(checked.values()), Chances(*(x.mean(axis=0) for x in reference))


def _probabilities(name, chances: Chances) -> Chances:
  found = []
  for field, x in zip(Chances._fields, chances, strict=True):
    x = numbers(f'{name}.{field}', x, 2).astype(np.float64)
    if x.min() < 0 or x.max() > 1:
      raise errors.DataError(
        f'{name}.{field} holds probabilities of the label, in [0, 1]; got '
        f'{x.min():.3g}..{x.max():.3g} (losses are not probabilities)'
      )
    found.append(x)
  return Chances(*found)


def _share_below(sample, values) -> np.ndarray:
  """Share of each row of `sample` that is at most each of `values`."""
  many = sample.shape[1]
  order = np.argsort(
    np.concatenate([sample, values], axis=1), axis=1, kind='stable'
  )
  counts = np.empty(order.shape)
  np.put_along_axis(counts, order, np.cumsum(order < many, axis=1), axis=1)
  return counts[:, many:] / many
