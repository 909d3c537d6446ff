"""The study of datamodel matching: how near its models come to oracles.

For each seed: draw a training set, train the models and, on random subsets, a
datamodel; choose forget sets; train oracles that never saw them; unlearn every
model by every method; compare margins with the oracles', by KLoM and by an
attacker who is to tell which is which, beside two rows that need no method:
fresh oracles (the floor) and the models as they were.

The factors of the predicted shifts are fitted on forget sets of the same
construction that are not in the table (`prediction.py`).
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from unlearn_jax import devices, errors, files, registry
from unlearn_jax.attributors import _own, datamodels
from unlearn_jax.metrics import klom, retrained_game
from unlearn_jax.study import forget_sets, prediction, subsets
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.unlearners import _words

SPLITS = subsets.SPLITS
GAME = 'told apart'  # balanced accuracy of `retrained_game`; .5 is ideal
FLOOR, BEFORE = 'fresh oracles', 'do nothing'  # rows that need no method
_LEAST = {'models': 3, 'subset_models': 2, 'calibration_sets': 0}
_LEVELS = np.linspace(0, 100, 101)  # percentiles of KLoM that are kept


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """All seeds; what one has found is kept, so a killed run goes on.

  Returns: `rows` of the table, each with mean and range over the seeds.
  """
  _check(settings)
  folder = pathlib.Path(workdir)
  files.make_folder(folder)
  began = time.monotonic()
  found = []
  for seed in settings['seeds']:
    path = folder / f'seed_{seed}.json'
    known = json.loads(path.read_bytes()) if path.exists() else {}
    if known.get('settings') != files.to_json(settings):
      known = {'settings': settings, **_one_seed(settings, seed, folder)}
      files.write_json(path, known)
    found.append(known)
  return {
    'study': 'matching',
    'rows': _table(found),
    'seeds': list(settings['seeds']),
    'models': settings['models'],
    'variant': settings['klom'].get('variant', 'default'),
    'factors': [seed['factors'] for seed in found],
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }


def _check(settings) -> None:
  """Builds what has a name once: a wrong one shows before any training."""
  klom.make(**settings['klom'])
  datamodels.make(**settings['datamodel'])
  subsets.masks(1, 1, settings['alphas'], 0)
  for name, least in _LEAST.items():
    if settings[name] < least:
      raise errors.ConfigError(
        f'{name} is at least {least}, got {settings[name]}'
      )
  if not len(settings['seeds']):
    raise errors.ConfigError('seeds names none')
  forget_sets.named(settings['forget_sets'], settings['forget_size'])
  for name, method in settings['methods'].items():
    if name in (FLOOR, BEFORE):
      raise errors.ConfigError(f'{name!r} is a row of its own, no method')
    _made(method)


def _made(method):
  """An unlearner, what predicts its shifts, and whether they are calibrated.

  An attributor comes with the number of models it looks at; None stands for
  the datamodel, which alone has factors.
  """
  method = dict(method)
  source = method.pop('attributor', 'datamodels')
  calibrated = method.pop('calibrated', source == 'datamodels')
  if calibrated and source != 'datamodels':
    raise errors.ConfigError(f'only the datamodel is calibrated, not {source}')
  unlearn = registry.make('unlearners', method.pop('name'), **method)
  attribute = None
  if source != 'datamodels':
    named = dict(source)
    count = named.pop('checkpoints')
    made = registry.make('attributors', named.pop('name'), **named)
    attribute = made, count
  return unlearn, attribute, calibrated


def _one_seed(settings, seed: int, folder: pathlib.Path) -> dict[str, Any]:
  ground = subsets.prepare(settings, seed)
  chooser = forget_sets.Chooser(
    data=ground.train,
    seed=seed,
    sets=forget_sets.named(settings['forget_sets'], settings['forget_size']),
  )
  chooser.check(settings['calibration_sets'])
  logging.info('seed %d: models of subsets', seed)
  with progress_lib.Progress(
    settings['subset_models'], f'seed {seed}', 'models'
  ) as bar:
    sums = subsets.train_subsets(
      ground, settings, seed, folder / f'sums_{seed}', bar.update
    )
  estimator = dict(settings['datamodel'])
  of_logits = datamodels.fit(sums.logits, **estimator)
  of_margins = datamodels.fit(sums.margins, **estimator)
  own = None
  if settings['own_effects']:
    own = _own_effects(settings, seed, ground, sums, of_margins)
  study = _Study(settings, seed, ground, chooser, of_logits, of_margins, own)
  rows, points, curves, forgotten = [], {}, {}, {}
  for name in chooser.sets:
    rows += study.compare(name)
    points[name], curves[name] = study.shown, study.curves
    forgotten[name] = study.forget
  forget_sets.save(folder / f'forgotten_{seed}.json', ground.train, forgotten)
  return {
    'rows': rows,
    'factors': study.factors,
    'points': points,
    'curves': curves,
    'penalty': float(np.median(of_logits.penalty)),
  }


def _own_effects(settings, seed, ground, sums, of_margins) -> _own.Own:
  seen = subsets.masks(len(sums.rows), ground.n, settings['alphas'], seed)
  weights = of_margins.weights[:, : ground.n]
  # As little as the common datamodel was free to, its differences are.
  return _own.fit(seen, sums.rows, weights, of_margins.penalty[: ground.n])


def pictured(workdir: str, seed: int) -> dict[str, Any]:
  """What a seed has found for pictures, by forget set and row of the table.

  Returns:
    `points`: margins of some forgotten points, {set: {row: [points, models]}};
    `curves`: KLoM at 0, 1, .. 100 percent of the points of each split, {set:
    {row: {split: [101]}}}.
  """
  path = pathlib.Path(workdir) / f'seed_{seed}.json'
  found = json.loads(path.read_bytes())
  return {name: found[name] for name in ('points', 'curves')}


class _Study:
  """Everything that the forget sets of one seed share."""

  def __init__(
    self, settings, seed, ground, chooser, of_logits, of_margins, own
  ):
    self._settings, self._seed, self._ground = settings, seed, ground
    self._datamodel = of_logits
    self._metric = klom.make(**settings['klom'])
    self._game = retrained_game.make()
    self._count = settings['models']
    self._base = ground.models(subsets.BASE, self._count)
    self._logits = ground.logits(self._base)
    self._choose = dataclasses.replace(
      chooser,
      effects=of_margins.weights[:, : ground.n],
      features=ground.features(jax.tree.map(lambda leaf: leaf[0], self._base)),
    )
    self._predictor = prediction.Predictor(ground, self._logits, of_logits, own)
    self.factors: dict[str, dict[str, float]] = {}
    # Of the last forget set: its rows, and what is kept for pictures.
    self.forget = np.zeros(0, int)
    self.shown: dict[str, Any] = {}
    self.curves: dict[str, Any] = {}
    self._used = 0  # indices of oracles

  def compare(self, kind: str) -> list[dict[str, Any]]:
    """The rows of one forget set."""
    logging.info('seed %d: forget set %s', self._seed, kind)
    ground, count = self._ground, self._count
    forget = self.forget = self._choose(kind)
    evaluation = self._oracles(forget)
    teachers = self._oracles(forget)  # others than those that judge
    truth, fresh = (
      ground.margins(ground.logits(params)) for params in (evaluation, teachers)
    )
    before = ground.margins(self._logits)
    judged = {FLOOR: fresh, BEFORE: before}
    factors = self._calibrate(kind)
    self.factors[kind] = factors._asdict()
    seconds = {}
    for name, method in self._settings['methods'].items():
      began = time.monotonic()
      judged[name] = self._unlearn(method, factors, forget, teachers)
      seconds[name] = (time.monotonic() - began) / count
    some = forget[:4]
    self.shown = {
      name: margins[:, some].T.tolist()
      for name, margins in {'oracles': truth, **judged}.items()
    }
    self.curves = {
      name: self._curves(margins, truth, forget)
      for name, margins in judged.items()
    }
    return [
      {
        'forget set': kind,
        'method': name,
        **self._score(margins, truth, fresh, forget),
        'seconds a model': seconds.get(name),
      }
      for name, margins in judged.items()
    ]

  def _unlearn(self, method, factors, forget, teachers) -> np.ndarray:
    unlearn, attribute, calibrated = _made(method)
    if calibrated:
      shift = self._predictor.shift(forget, factors)
    else:
      shift = np.float32(self._shift(attribute, forget))
    done = unlearn(
      _words.Request(
        model=self._ground.fleet.model,
        params=self._base,
        data=self._ground.train,
        forget=forget,
        seed=self._seed,
        teachers=teachers,
        shift=shift,
        width=self._settings['width'],
      )
    )
    logits = self._ground.logits(done.params)
    if done.shift is not None:
      logits = logits + done.shift
    return self._ground.margins(logits)

  def _shift(self, attribute, forget) -> np.ndarray:
    if attribute is None:
      return self._datamodel.shift(forget)
    attribute, count = attribute
    ground = self._ground
    params = jax.tree.map(lambda leaf: leaf[:count], self._base)
    found = attribute(ground.setting(params, np.arange(len(ground.x))))
    if found.of != 'logits':
      raise errors.ConfigError(
        f'an attributor of a method predicts logits, this one {found.of}'
      )
    return found.shift(forget)

  def _oracles(self, forget):
    first = subsets.ORACLE + self._used
    self._used += self._count
    return self._ground.models(first, self._count, without=forget)

  def _calibrate(self, kind: str) -> prediction.Factors:
    """On oracles of other sets of this kind."""
    sets = []
    for like in range(1, self._settings['calibration_sets'] + 1):
      forget = self._choose(kind, like)
      logits = self._ground.logits(self._oracles(forget))
      sets.append((forget, self._ground.margins(logits)))
    return self._predictor.calibrate(self._metric, sets)

  def _score(self, margins, truth, fresh, forget) -> dict[str, Any]:
    fresh = None if margins is fresh else fresh
    scores = {}
    for name, chosen in self._ground.splits(forget).items():
      mine = {
        'unlearned': margins[:, chosen],
        'oracles': truth[:, chosen],
        'fresh': None if fresh is None else fresh[:, chosen],
      }
      found = self._metric(**mine)
      scores[name] = found.p95.value
      scores[f'{name} corrected'] = found.corrected.value
      scores[f'{name} floor'] = found.floor.p95
      if name == 'forget':
        game = self._game(**mine)
        scores[GAME] = game.accuracy.value
        scores[f'{GAME} floor'] = game.floor.value
    return scores

  def _curves(self, margins, truth, forget) -> dict[str, list[float]]:
    values = self._metric.per_point(margins, truth)
    return {
      name: np.percentile(values[chosen], _LEVELS).round(4).tolist()
      for name, chosen in self._ground.splits(forget).items()
    }


def _table(found) -> list[dict[str, Any]]:
  """Mean and range over seeds of every row."""
  rows = []
  for same in zip(*(seed['rows'] for seed in found), strict=True):
    row = {name: same[0][name] for name in ('forget set', 'method')}
    for name in (*SPLITS, GAME):
      values = [one[name] for one in same]
      row[name] = {
        'mean': float(np.mean(values)),
        'low': min(values),
        'high': max(values),
        'floor': float(np.mean([one[f'{name} floor'] for one in same])),
      }
    for name in SPLITS:
      row[name]['corrected'] = float(
        np.mean([one[f'{name} corrected'] for one in same])
      )
    times = [one['seconds a model'] for one in same if one['seconds a model']]
    row['seconds a model'] = float(np.mean(times)) if times else None
    rows.append(row)
  return rows
