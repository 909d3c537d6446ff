"""A case, one forget set with its models and oracles, and a look at it.

The panel asks both for what its metrics compare: answers of each side on a
split, and what several metrics need, which is computed once.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import losses
from unlearn_jax.metrics import error_gap, mia_logistic, mia_svc
from unlearn_jax.study import arena
from unlearn_jax.unlearners import _words


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Case:
  """One forget set: what was trained with it, and what never saw it."""

  place: arena.Arena
  forget: np.ndarray
  base: arena.Models
  retraining: _words.Record  # what the oracles cost
  original: arena.Evidence
  oracles: arena.Evidence
  fresh: arena.Evidence | None  # other oracles, for the floor
  # Rows that oracles never saw, where they are more than the forget set: those
  # that are as bad, and that nobody has found.
  unseen: np.ndarray | None = None
  _known: dict[Any, Any] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def splits(self) -> dict[str, np.ndarray]:
    """Points of each split."""
    return self.place.splits(self.forget, self.unseen)

  @property
  def loss(self) -> Callable[..., jax.Array]:
    """The loss of the task, an example at a time."""
    return losses.of_task(self.place.ground.train.task)

  def labels(self, split: str) -> np.ndarray:
    """Of the points of a split."""
    return self.place.ground.y[self.splits[split]]

  def truth(self, split: str) -> np.ndarray:
    """The same before anybody has changed them."""
    return self.place.truth[self.splits[split]]

  def sides(self, found: arena.Evidence, split: str, few=False, of='logits'):
    """What a metric compares on a split: its keyword arguments."""
    limit = self.place.few if few else len(found.logits)
    sides = {'unlearned': found, 'oracles': self.oracles}
    if self.fresh is not None and found is not self.fresh:
      sides['fresh'] = self.fresh
    at = self.splits[split]
    return {n: getattr(e, of)[:limit, at] for n, e in sides.items()}

  def each(
    self,
    function: Callable[..., jax.Array],
    found: arena.Evidence,
    split: str,
    few: bool = False,
  ) -> dict[str, np.ndarray]:
    """`function(logits, labels)` of each side, [models, points]."""
    y, many = self.labels(split), _of_many(function)
    logits = self.sides(found, split, few)

    def of(name):
      return np.asarray(many(logits[name], y))

    return {
      name: of(name)
      if name == 'unlearned'
      else self.once((function, split, len(logits[name]), name), of, name)
      for name in logits
    }

  def once(self, key: Any, make: Callable[..., Any], *args: Any) -> Any:
    """What is the same for every method of the case, made when first asked."""
    if key not in self._known:
      self._known[key] = make(*args)
    return self._known[key]

  def margins(self, found: arena.Evidence, split: str):
    """Margins [models, points] of each side; of a regression its errors."""
    of = losses.margin if self.place.classes else _residual
    return self.each(of, found, split)


def _residual(predictions, y):
  """Prediction less target, the mean over outputs."""
  return jnp.mean(predictions - y, axis=-1)


@functools.lru_cache
def _of_many(function):
  return jax.jit(jax.vmap(function, (0, None)))


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
  """One candidate in a case; what several metrics need is computed once."""

  case: Case
  found: arena.Evidence
  record: _words.Record | None

  @functools.cached_property
  def attack(self) -> mia_svc.Efficacy:
    """MIA efficacy of the first few models."""
    each = {
      split: self.case.sides(self.found, split, few=True)
      for split in ('retain', 'test', 'forget')
    }
    sides = next(iter(each.values())).keys()
    return mia_svc.make()(
      labels=mia_svc.Splits(*map(self.case.labels, each)),
      **{n: mia_svc.Splits(*(e[n] for e in each.values())) for n in sides},
    )

  @functools.cached_property
  def logistic(self) -> mia_logistic.Attack:
    """The attack on the loss of the first few models."""
    of = {
      split: self.case.each(self.case.loss, self.found, split, few=True)
      for split in ('forget', 'test')
    }
    return mia_logistic.make()(
      **{
        n: mia_logistic.Losses(*(e[n] for e in of.values())) for n in of['test']
      }
    )

  @functools.cached_property
  def errors(self) -> error_gap.ErrorGap:
    """Of a regression."""
    splits = error_gap.Outputs._fields
    return error_gap.make()(
      **self.of_splits(error_gap.Outputs, *splits),
      targets=error_gap.Targets(*map(self.case.labels, splits)),
    )

  def of_splits(self, outputs, *splits: str) -> dict[str, Any]:
    """What a metric compares on some splits: its tuple of them, each side."""
    each = [self.case.sides(self.found, split) for split in splits]
    return {side: outputs(*(e[side] for e in each)) for side in each[0]}

  @functools.cached_property
  def panels(self) -> dict[str, np.ndarray]:
    """UA, MIA, RA and TA of the first few models, [models, 4] each side."""
    sides = {'unlearned': self.attack.unlearned, 'oracles': self.attack.oracles}
    columns = {}
    for split in ('forget', 'retain', 'test'):
      y = self.case.labels(split)
      logits = self.case.sides(self.found, split, few=True)
      columns[split] = {
        n: 100 * np.mean(np.argmax(logits[n], -1) == y, axis=1) for n in sides
      }
    return {
      n: np.stack(
        [
          100 - columns['forget'][n],
          mia,
          columns['retain'][n],
          columns['test'][n],
        ],
        axis=1,
      )
      for n, mia in sides.items()
    }
