"""Where the answers of models should be once some rows are forgotten.

A datamodel says how logits move; how far is calibrated on forget sets of the
same kind that are not in the table, for rows that go, rows that stay and the
others apart. Where the models of subsets were kept row by row, the margins of
rows come from datamodels of their own, and models that forget a row disagree
about it as much as models do that never saw it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from unlearn_jax.attributors import _own, datamodels
from unlearn_jax.study import subsets
from unlearn_jax.study.subsets import SPLITS

_FACTORS = np.arange(8, 29) / 20
_SPREADS = np.arange(7) / 5
_MOST = 400  # points of a split that judge a factor: all would cost the hour


class Factors(NamedTuple):
  """What predicted shifts are multiplied by, split by split.

  `spread` multiplies the disagreement about forgotten rows that models show
  which never saw them; models only ever spread out, so 0 leaves them alone.
  """

  forget: float = 1.0
  retain: float = 1.0
  validation: float = 1.0
  spread: float = 0.0


class Predictor:
  """Moves the logits [models, points, outputs] of base models."""

  def __init__(
    self,
    ground: subsets.Ground,
    logits: np.ndarray,
    datamodel: datamodels.Datamodel,
    own: _own.Own | None = None,
  ):
    self._ground, self._logits = ground, logits
    self._datamodel, self._own = datamodel, own
    self._before = ground.margins(logits)

  def shift(self, forget, factors: Factors) -> np.ndarray:
    """Of the logits: [points, outputs], or of each model [models, ...]."""
    by_point = np.empty(len(self._ground.x))
    for name, chosen in self._ground.splits(forget).items():
      by_point[chosen] = getattr(factors, name)
    shift = np.float32(by_point[:, None] * self._datamodel.shift(forget))
    if self._own is None:
      return shift
    moved, n = self._logits + shift, self._ground.n
    wanted = self._wanted(forget, by_point[:n], factors.spread)
    # What is added to the logit of the label is added to the margin.
    at = np.arange(n), self._ground.y[:n]
    moved[:, *at] += wanted - self._ground.margins(moved)[:, :n]
    return moved - self._logits

  def calibrate(
    self, metric: Any, sets: Sequence[tuple[np.ndarray, np.ndarray]]
  ) -> Factors:
    """The factors that come nearest to oracles, by mean KLoM.

    `sets` are rows to forget and the margins [models, points] of oracles.
    Means, not percentiles: those of so few points jump.
    """
    found = Factors()
    if not sets:
      return found
    found = self._best(metric, sets, found, SPLITS)
    if self._own is not None:
      tried = [found._replace(spread=float(s)) for s in _SPREADS]
      scores = [self._score(metric, sets, one)['forget'] for one in tried]
      found = tried[int(np.argmin(scores))]
      found = self._best(metric, sets, found, ('forget',))
    self._log(sets, found)
    return found

  def _best(self, metric, sets, found, splits) -> Factors:
    """`found` with the best factors of `splits`, each on its own points."""
    scores = []
    for factor in _FACTORS:
      tried = dict.fromkeys(SPLITS, float(factor))
      scores.append(self._score(metric, sets, found._replace(**tried)))
    best = {
      name: float(_FACTORS[np.argmin([score[name] for score in scores])])
      for name in splits
    }
    return found._replace(**best)

  def _score(self, metric, sets, factors) -> dict[str, float]:
    """Mean KLoM of each split, where the shifts are large."""
    values = {name: [] for name in SPLITS}
    for forget, truth in sets:
      margins = self._ground.margins(self._logits + self.shift(forget, factors))
      size = np.abs(self._datamodel.shift(forget)).sum(-1)
      for name, chosen in self._ground.splits(forget).items():
        at = np.flatnonzero(chosen)
        at = at[np.argsort(-size[at])[:_MOST]]
        values[name].append(metric.per_point(margins[:, at], truth[:, at]))
    return {name: float(np.concatenate(v).mean()) for name, v in values.items()}

  def _wanted(self, forget, factor, spread) -> np.ndarray:
    """Margins [models, n] of the rows."""
    before = self._before[:, : self._ground.n]
    after = before + factor * self._own.shift(forget)
    middle, now = after.mean(axis=0), before.std(axis=0)
    wider = spread * self._own.spread[forget] / np.maximum(now[forget], 1e-6)
    stretch = np.ones_like(now)
    stretch[forget] = np.maximum(wider, 1.0)
    return middle + stretch * (after - middle)

  def _log(self, sets, factors) -> None:
    """The factors, and the slope of what happened on what was predicted."""
    predicted = {name: [] for name in SPLITS}
    happened = {name: [] for name in SPLITS}
    before = self._before.mean(axis=0)
    for forget, truth in sets:
      shifted = self._logits + self.shift(forget, Factors())
      after = self._ground.margins(shifted).mean(axis=0)
      for name, chosen in self._ground.splits(forget).items():
        predicted[name].append((after - before)[chosen])
        happened[name].append((truth.mean(axis=0) - before)[chosen])
    for name in SPLITS:
      p, a = (np.concatenate(part[name]) for part in (predicted, happened))
      slope = p @ a / (p @ p) if p.any() else np.nan
      logging.info(
        'predicted margins, %s: factor %.2f, slope %.3f',
        name,
        getattr(factors, name),
        slope,
      )
    logging.info('spread of forgotten rows: factor %.2f', factors.spread)
