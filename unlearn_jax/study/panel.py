"""The panel: how each metric looks at a case, and the rows it gives.

A case is one forget set with its models and oracles. Metrics that only look at
answers see all models; those that train or solve something see the first few.
A row holds the value with its interval, what oracles score among each other,
and whether the two can be told apart.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from absl import logging

from unlearn_jax import errors, keys, losses
from unlearn_jax.fleet import fleet
from unlearn_jax.metrics import (
  accuracy,
  activation_distance,
  cka,
  disagreement,
  epsilon,
  gap,
  js_divergence,
  klom,
  knn,
  mia_logistic,
  mia_svc,
  retrained_game,
  rmia,
  tow,
  verification,
  zrf,
)
from unlearn_jax.metrics import relearn as relearn_metric
from unlearn_jax.metrics._words import Interval
from unlearn_jax.study import arena, relearn
from unlearn_jax.unlearners import _words

_NETS = 5  # untrained, for ZRF
Rows = list[dict[str, Any]]


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
  _known: dict[Any, Any] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def splits(self) -> dict[str, np.ndarray]:
    """Points of each split."""
    return self.place.splits(self.forget)

  def labels(self, split: str) -> np.ndarray:
    """Of the points of a split."""
    return self.place.ground.y[self.splits[split]]

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
    """Margins [models, points] of each side."""
    return self.each(losses.margin, found, split)


@functools.lru_cache
def _of_many(function):
  return jax.jit(jax.vmap(function, (0, None)))


def chosen(names: Sequence[str]) -> tuple[str, ...]:
  """The metrics of these names; none means all."""
  for name in names:
    errors.check_choice('metric of the panel', name, tuple(_PANEL))
  return tuple(names) or tuple(_PANEL)


def judge(
  names: Sequence[str],
  case: Case,
  found: arena.Evidence,
  record: _words.Record | None = None,
) -> Rows:
  """Rows of models that were unlearned, or of any others."""
  look = _Look(case, found, record)
  able = [name for name in names if found.params or name not in _OF_WEIGHTS]
  if len(found.logits) < len(case.oracles.logits):
    able = [name for name in able if name not in _OF_ENSEMBLES]
  rows = []
  for name in able:
    try:
      rows += _PANEL[name](look)
    except errors.DataError as error:
      # Such as features that a ruined model has made all alike: a finding of
      # its own, and no reason to lose the other numbers.
      logging.warning('%s says nothing here: %s', name, error)
      rows.append({'metric': name, 'undefined': str(error)})
  return rows


def distance(case: Case, found: arena.Evidence) -> float:
  """The average gap alone: what settings are chosen by."""
  look = _Look(case, found, None)
  return gap.make()(**look.panels).value.value


@dataclasses.dataclass(frozen=True, eq=False)
class _Look:
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


def _accuracy(look: _Look) -> Rows:
  rows = []
  for name, split in (('UA', 'forget'), ('RA', 'retain'), ('TA', 'test')):
    metric = accuracy.make(wrong=split == 'forget')
    found = metric(
      **look.case.sides(look.found, split), labels=look.case.labels(split)
    )
    rows.append(_row(name, found, accuracy.IDEAL))
  rows[-1]['per class'] = {
    'unlearned': _rounded(found.per_class.mean(axis=0)),
    'oracles': _rounded(found.per_class_oracles.mean(axis=0)),
    'forgotten': _rounded(_parts(look.case)),
  }
  return rows


def _parts(case: Case) -> np.ndarray:
  """The part of each class's training examples that is forgotten."""
  y = case.place.ground.y
  classes = case.oracles.logits.shape[-1]
  every, gone = (
    np.bincount(of, minlength=classes)
    for of in (y[: case.place.ground.n], y[case.forget])
  )
  return gone / np.maximum(every, 1)


def _mia(look: _Look) -> Rows:
  return [_row('MIA', look.attack, mia_svc.IDEAL)]


def _attacks(look: _Look) -> Rows:
  """On the loss, and on ratios to models that never saw the example."""
  case, found = look.case, look.found
  of = {
    split: case.each(losses.cross_entropy, found, split, few=True)
    for split in ('forget', 'test', 'control')
  }
  sides = of['forget'].keys()
  logistic = mia_logistic.make()(
    **{n: mia_logistic.Losses(of['forget'][n], of['test'][n]) for n in sides}
  )
  rows = [_row('logistic MIA', logistic, mia_logistic.IDEAL)]
  if case.fresh is not None and found is not case.fresh:
    chances = {
      n: rmia.Chances(*(np.exp(-losses[n]) for losses in of.values()))
      for n in sides
    }
    found = rmia.make()(
      unlearned=chances['unlearned'],
      oracles=chances['oracles'],
      references=chances['fresh'],
    )
    rows.append(_row('RMIA', found, rmia.IDEAL))
  return rows


def _epsilon(look: _Look) -> Rows:
  found = epsilon.make(resamples=_RESAMPLES)(
    **look.case.margins(look.found, 'forget')
  )
  row = _row('forgetting quality', found, epsilon.IDEAL)
  return [row | {'relative': found.relative, 'undefined': found.undefined}]


def _gap(look: _Look) -> Rows:
  return [_row('gap', gap.make()(**look.panels), gap.IDEAL)]


def _tow(look: _Look) -> Rows:
  found = tow.make()(**look.panels)
  return [_row('ToW', found, tow.IDEAL), _row('ToW-MIA', found.mia, tow.IDEAL)]


def _klom(look: _Look) -> Rows:
  metric, rows = klom.make(resamples=_RESAMPLES), []
  for split in arena.SPLITS:
    margins = look.case.margins(look.found, split)
    found = metric(**margins)
    rows.append(_row(f'KLoM {split}', found, klom.IDEAL, found.floor.p95))
    rows[-1]['corrected'] = found.corrected.value
    if split == 'forget':
      rows[-1]['margins'] = {
        name: _rounded(margins[name][:, :_SHOWN].T)
        for name in ('unlearned', 'oracles')
      }
  return rows


def _game(look: _Look) -> Rows:
  metric = retrained_game.make(resamples=_RESAMPLES)
  found = metric(**look.case.margins(look.found, 'forget'))
  return [_row('told apart', found, retrained_game.IDEAL)]


def _divergences(look: _Look) -> Rows:
  sides = look.case.sides(look.found, 'forget')
  return [
    _row(name, metric.make()(**sides), metric.IDEAL)
    for name, metric in (
      ('activation distance', activation_distance),
      ('JS divergence', js_divergence),
      ('disagreement', disagreement),
    )
  ]


def _zrf(look: _Look) -> Rows:
  case = look.case
  found = zrf.make()(
    **case.sides(look.found, 'forget'),
    random=case.once('untrained', _untrained, case),
  )
  return [_row('ZRF', found, zrf.IDEAL)]


def _untrained(case: Case) -> np.ndarray:
  """Logits of nets that learned nothing, on the forget set."""
  ground = case.place.ground
  model, x = ground.fleet.model, ground.x[case.forget]
  nets = jax.vmap(lambda key: model.init(key, x[:1]))(
    jax.random.split(keys.stream(keys.root(0), 'ZRF'), _NETS)
  )
  return fleet.outputs(model, nets, x)


def _features(look: _Look) -> Rows:
  rows, case = [], look.case
  for split in ('forget', 'test'):
    sides = case.sides(look.found, split, few=True, of='features')
    original = case.original.features[:, case.splits[split]]
    found = cka.make()(**sides, original=original)
    rows.append(_row(f'CKA {split}', found, cka.IDEAL))
    rows[-1]['to original'] = found.to_original.value
  ids = case.place.test_ids
  sides = case.sides(look.found, 'test', few=True, of='features')
  found = knn.make()(**sides, labels=case.labels('test'), ids=ids)
  return [*rows, _row('k-NN', found, knn.IDEAL)]


def _relearn(look: _Look) -> Rows:
  case = look.case
  curves = {
    'unlearned': _curves(case, look.found),
    'oracles': case.once('relearned oracles', _curves, case, case.oracles),
    'original': case.once('relearned', _curves, case, case.original),
  }
  row = _row('relearn', relearn_metric.make()(**curves), relearn_metric.IDEAL)
  row['curves'] = {
    name: _rounded(of.loss.mean(axis=(0, 1))) for name, of in curves.items()
  }
  return [row]


def _curves(case: Case, evidence: arena.Evidence):
  place = case.place
  few = jax.tree.map(lambda leaf: leaf[: place.few], evidence.params)
  return relearn.curves(
    place.ground.fleet.model,
    few,
    place.ground.train.subset(case.forget),
    optimizer=_RELEARN,
    batch_size=64,
    steps=_STEPS,
    orders=2,
    width=place.ground.fleet.width,
  )


def _distance(look: _Look) -> Rows:
  sides = {'unlearned': look.found, 'oracles': look.case.oracles}
  few = look.case.place.few
  params = {
    n: jax.tree.map(lambda leaf: leaf[:few], e.params) for n, e in sides.items()
  }
  return [_row('distance', verification.make()(**params), verification.IDEAL)]


def _cost(look: _Look) -> Rows:
  """Seconds and gradients as parts of those of retraining."""
  if look.record is None:
    return []
  record, of_oracle = look.record, look.case.retraining
  part = len(look.found.logits) / len(look.case.oracles.logits)
  return [
    {
      'metric': 'cost',
      'value': record.seconds / (part * of_oracle.seconds),
      'gradients': record.gradients / of_oracle.gradients,
      'seconds': record.seconds,
      'compile seconds': record.compile_seconds,
    }
  ]


_RESAMPLES = 10  # for the intervals of metrics that compare ensembles
_SHOWN = 4  # forgotten points whose margins are kept
_STEPS = 100  # of relearning
_RELEARN = optax.adam(1e-3)  # one object: programs are found by it
# Of a system, whose answers are those of many models; and of a few of them.
_OF_WEIGHTS = ('features', 'relearn', 'distance')
_OF_ENSEMBLES = ('klom', 'game', 'epsilon')
_PANEL: Mapping[str, Callable[[_Look], Rows]] = {
  'accuracy': _accuracy,
  'mia': _mia,
  'attacks': _attacks,
  'gap': _gap,
  'tow': _tow,
  'klom': _klom,
  'game': _game,
  'epsilon': _epsilon,
  'divergences': _divergences,
  'zrf': _zrf,
  'features': _features,
  'relearn': _relearn,
  'distance': _distance,
  'cost': _cost,
}


def _row(name: str, found, ideal: float, floor=None) -> dict[str, Any]:
  """What is kept of a result; models one by one where it has them."""
  floor = found.floor if floor is None else floor
  if not isinstance(floor, Interval):
    floor = Interval(floor, floor, floor)
  row = {
    'metric': name,
    'value': found.value.value,
    'low': found.value.low,
    'high': found.value.high,
    'floor': list(floor),
    'at floor': bool(found.at_floor),
    'ideal': ideal,
  }
  for field in ('per_model', 'unlearned', 'oracles'):
    if isinstance(getattr(found, field, None), np.ndarray):
      row[field] = _rounded(getattr(found, field))
  return row


def _rounded(values: np.ndarray) -> np.ndarray:
  return np.round(np.asarray(values, np.float64), 5)
