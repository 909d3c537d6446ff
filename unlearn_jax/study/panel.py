"""The panel: how each metric looks at a case, and the rows it gives.

Metrics that only look at answers see all models of a case; those that train or
solve something see the first few. A row holds the value with its interval, what
oracles score among each other, and whether the two can be told apart. Not all
look at everything: there are no classes in a regression, and no trigger where
nobody has poisoned.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from absl import logging

from unlearn_jax import errors, keys, trees
from unlearn_jax.fleet import fleet
from unlearn_jax.metrics import (
  accuracy,
  activation_distance,
  attack_success,
  cka,
  confusion,
  corrective,
  disagreement,
  epsilon,
  error_gap,
  gap,
  js_divergence,
  klom,
  knn,
  mia_logistic,
  mia_svc,
  nomus,
  retention,
  retrained_game,
  rmia,
  tow,
  verification,
  wasserstein,
  zrf,
)
from unlearn_jax.metrics import relearn as relearn_metric
from unlearn_jax.metrics._words import Interval
from unlearn_jax.study import arena, cases, corruption, harm, relearn
from unlearn_jax.unlearners import _words

_NETS = 5  # untrained, for ZRF
_RESAMPLES = 10  # for the intervals of metrics that compare ensembles
_SHOWN = 4  # forgotten points whose margins are kept
_STEPS = 100  # of relearning
_LOOKED_AT = 256  # rows, after each of them
_RELEARN = optax.adam(1e-3)  # one object: programs are found by it
Rows = list[dict[str, Any]]


def chosen(names: Sequence[str]) -> tuple[str, ...]:
  """The metrics of these names; none means all."""
  for name in names:
    errors.check_choice('metric of the panel', name, tuple(_PANEL))
  return tuple(names) or tuple(_PANEL)


def left_out(names: Sequence[str], place: arena.Arena) -> dict[str, str]:
  """Metrics that have no meaning in an arena, and why."""
  done = place.harm.kind if place.harm else None
  reasons = {
    name: f'looks at classes, and {place.ground.train.name} has none'
    for name in _OF_CLASSES
    if not place.classes
  }
  if place.classes:
    reasons |= dict.fromkeys(_OF_NUMBERS, 'is of a regression')
  for name, kinds in _OF_HARM.items():
    if done not in kinds:
      reasons.setdefault(name, f'is of the corruption {" or ".join(kinds)}')
  return {name: reasons[name] for name in names if name in reasons}


def judge(
  names: Sequence[str],
  case: cases.Case,
  found: arena.Evidence,
  record: _words.Record | None = None,
) -> Rows:
  """Rows of models that were unlearned, or of any others."""
  look = cases.Look(case, found, record)
  out = left_out(names, case.place)
  able = [
    name
    for name in names
    if name not in out and (found.params or name not in _OF_WEIGHTS)
  ]
  if len(found.logits) < len(case.oracles.logits):
    able = [name for name in able if name not in _OF_ENSEMBLES]
  rows = []
  for name in able:
    try:
      rows += _PANEL[name](look)
    except errors.DataError as error:
      # Such as features that a ruined model has made all alike: a finding of
      # its own, and no reason to lose the other numbers.
      _tell(name, str(error))
      rows.append({'metric': name, 'undefined': str(error)})
  return rows


@functools.cache
def _tell(name: str, why: str) -> None:
  """Once: what is so for one method is so for most."""
  logging.warning('%s says nothing here: %s', name, why)


def distance(case: cases.Case, found: arena.Evidence) -> float:
  """The average gap alone: what settings are chosen by."""
  look = cases.Look(case, found, None)
  if not case.place.classes:
    return look.errors.value.value
  return gap.make()(**look.panels).value.value


def _accuracy(look: cases.Look) -> Rows:
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


def _parts(case: cases.Case) -> np.ndarray:
  """The part of each class's training examples that is forgotten."""
  y = case.place.ground.y
  classes = case.oracles.logits.shape[-1]
  every, gone = (
    np.bincount(of, minlength=classes)
    for of in (y[: case.place.ground.n], y[case.forget])
  )
  return gone / np.maximum(every, 1)


def _mia(look: cases.Look) -> Rows:
  return [_row('MIA', look.attack, mia_svc.IDEAL)]


def _attacks(look: cases.Look) -> Rows:
  """On the loss, and on ratios to models that never saw the example."""
  case, found = look.case, look.found
  rows = [_row('logistic MIA', look.logistic, mia_logistic.IDEAL)]
  if case.fresh is not None and found is not case.fresh and case.place.classes:
    of = [
      case.each(case.loss, found, split, few=True)
      for split in ('forget', 'test', 'control')
    ]
    chances = {
      n: rmia.Chances(*(np.exp(-losses[n]) for losses in of)) for n in of[0]
    }
    found = rmia.make()(
      unlearned=chances['unlearned'],
      oracles=chances['oracles'],
      references=chances['fresh'],
    )
    rows.append(_row('RMIA', found, rmia.IDEAL))
  return rows


def _epsilon(look: cases.Look) -> Rows:
  found = epsilon.make(resamples=_RESAMPLES)(
    **look.case.margins(look.found, 'forget')
  )
  row = _row('forgetting quality', found, epsilon.IDEAL)
  return [row | {'relative': found.relative, 'undefined': found.undefined}]


def _gap(look: cases.Look) -> Rows:
  if not look.case.place.classes:
    return _errors(look)
  return [_row('gap', gap.make()(**look.panels), gap.IDEAL)]


def _errors(look: cases.Look) -> Rows:
  found = look.errors
  return [
    _row('gap', found, error_gap.IDEAL),
    *(
      _row(f'MAE {split}', of, error_gap.IDEAL)
      for split, of in found.errors.items()
    ),
  ]


def _tow(look: cases.Look) -> Rows:
  found = tow.make()(**look.panels)
  return [_row('ToW', found, tow.IDEAL), _row('ToW-MIA', found.mia, tow.IDEAL)]


def _retention(look: cases.Look) -> Rows:
  found = retention.make()(**look.panels)
  row = _row('RetDev', found, retention.IDEAL)
  return [row | {'retention': {n: i.value for n, i in found.retention.items()}}]


def _nomus(look: cases.Look) -> Rows:
  """Scores that ignore the oracle, beside what it scores itself."""
  original = cases.Look(look.case, look.case.original, None)
  found = nomus.make()(
    **{side: _scored(look, side) for side in look.panels},
    original=look.case.once('scored', _scored, original, 'unlearned'),
  )
  rows = [
    _row(name, of, 0.0)
    for name, of in (
      ('NoMUS', found.nomus),
      ('H-Mean', found.h_mean),
      ('AUS', found.aus),
    )
  ]
  rows[0]['above oracle'] = list(found.above_oracle)
  return rows


def _scored(look: cases.Look, side: str) -> np.ndarray:
  """Accuracies on the three splits, and that of the attack on the loss."""
  unright, _, retain, test = look.panels[side].T
  attack = getattr(look.logistic.difference, side)
  return np.stack([100 - unright, retain, test, attack], axis=1)


def _klom(look: cases.Look) -> Rows:
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


def _game(look: cases.Look) -> Rows:
  metric = retrained_game.make(resamples=_RESAMPLES)
  found = metric(**look.case.margins(look.found, 'forget'))
  return [_row('told apart', found, retrained_game.IDEAL)]


def _divergences(look: cases.Look) -> Rows:
  sides = look.case.sides(look.found, 'forget')
  return [
    _row(name, metric.make()(**sides), metric.IDEAL)
    for name, metric in (
      ('activation distance', activation_distance),
      ('JS divergence', js_divergence),
      ('disagreement', disagreement),
    )
  ]


def _zrf(look: cases.Look) -> Rows:
  case = look.case
  found = zrf.make()(
    **case.sides(look.found, 'forget'),
    random=case.once('untrained', _untrained, case),
  )
  return [_row('ZRF', found, zrf.IDEAL)]


def _untrained(case: cases.Case) -> np.ndarray:
  """Logits of nets that learned nothing, on the forget set."""
  ground = case.place.ground
  model, x = ground.fleet.model, ground.x[case.forget]
  nets = jax.vmap(lambda key: model.init(key, x[:1]))(
    jax.random.split(keys.stream(keys.root(0), 'ZRF'), _NETS)
  )
  return fleet.outputs(model, nets, x)


def _features(look: cases.Look) -> Rows:
  rows, case = [], look.case
  for split in ('forget', 'test'):
    sides = case.sides(look.found, split, few=True, of='features')
    original = case.original.features[:, case.splits[split]]
    found = cka.make()(**sides, original=original)
    rows.append(_row(f'CKA {split}', found, cka.IDEAL))
    rows[-1]['to original'] = found.to_original.value
  if not case.place.classes:
    return rows
  ids = case.place.test_ids
  sides = case.sides(look.found, 'test', few=True, of='features')
  found = knn.make()(**sides, labels=case.labels('test'), ids=ids)
  return [*rows, _row('k-NN', found, knn.IDEAL)]


def _wasserstein(look: cases.Look) -> Rows:
  case = look.case
  found = wasserstein.make()(
    **case.sides(look.found, 'forget'), targets=case.place.ground.y
  )
  return [_row('W1 forget', found, wasserstein.IDEAL)]


def _corrective(look: cases.Look) -> Rows:
  found = corrective.make()(
    **look.of_splits(corrective.Outputs, *harm.PARTS),
    labels=corrective.Labels(*map(look.case.truth, harm.PARTS)),
  )
  return [
    _row('Acc_corr', found, corrective.IDEAL),
    _row('Acc_retain', found.retain, corrective.IDEAL),
  ]


def _attack(look: cases.Look) -> Rows:
  """Without SA, which is TA: what is tested is clean."""
  parts, of_harm = ('affected', 'test'), look.case.place.harm
  found = attack_success.make()(
    **look.of_splits(attack_success.Outputs, *parts),
    labels=attack_success.Labels(*map(look.case.truth, parts)),
    target=of_harm.settings['target'],
  )
  return [_row('ASR', found, attack_success.IDEAL)]


def _confusion(look: cases.Look) -> Rows:
  parts = ('test', 'forget')
  found = confusion.make()(
    **look.of_splits(confusion.Outputs, *parts),
    labels=confusion.Labels(*map(look.case.truth, parts)),
    classes=look.case.place.harm.settings['classes'],
  )
  return [
    _row('IC-ERR', found, confusion.IDEAL),
    _row('Fgt-ERR', found.forget, confusion.IDEAL),
  ]


def _relearn(look: cases.Look) -> Rows:
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


def _curves(case: cases.Case, evidence: arena.Evidence):
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
    looked_at=_LOOKED_AT,
    width=place.ground.fleet.width,
  )


def _distance(look: cases.Look) -> Rows:
  sides = {'unlearned': look.found, 'oracles': look.case.oracles}
  few = look.case.place.few
  params = {
    n: jax.tree.map(lambda leaf: leaf[:few], e.params) for n, e in sides.items()
  }
  return [_row('distance', verification.make()(**params), verification.IDEAL)]


def _cost(look: cases.Look) -> Rows:
  """Seconds and gradients as parts of those of retraining; weights that are 0."""
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
      'zeros': _zeros(look.found.params),
    }
  ]


def _zeros(params) -> float | None:
  """The part of all entries of kernels that is exactly zero."""
  kernels = [
    leaf
    for path, leaf in trees.flatten(params or {}).items()
    if path.endswith('kernel')
  ]
  if not kernels:
    return None
  zeros = sum(np.sum(np.asarray(leaf) == 0) for leaf in kernels)
  return float(zeros / sum(leaf.size for leaf in kernels))


# What a system, whose answers are those of many models, has nothing for; and
# what needs more than a few models.
_OF_WEIGHTS = ('features', 'relearn', 'distance')
_OF_ENSEMBLES = ('klom', 'game', 'epsilon')
# Of answers that are classes, and of those that are numbers.
_OF_CLASSES = (
  'accuracy',
  'mia',
  'tow',
  'retention',
  'nomus',
  'divergences',
  'zrf',
  'corrective',
  'attack',
  'confusion',
)
_OF_NUMBERS = ('wasserstein',)
_OF_HARM = {
  'corrective': tuple(corruption.KINDS),
  'attack': ('poison',),
  'confusion': ('swap',),
}
_PANEL: Mapping[str, Callable[[cases.Look], Rows]] = {
  'accuracy': _accuracy,
  'mia': _mia,
  'attacks': _attacks,
  'gap': _gap,
  'wasserstein': _wasserstein,
  'corrective': _corrective,
  'attack': _attack,
  'confusion': _confusion,
  'tow': _tow,
  'retention': _retention,
  'nomus': _nomus,
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
