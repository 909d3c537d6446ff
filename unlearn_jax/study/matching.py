"""The study of datamodel matching: how near its models come to oracles.

For each seed: draw a training set, train the models and, on random subsets, a
datamodel; choose forget sets; train oracles that never saw them; unlearn every
model by every method; compare margins with the oracles', beside two rows that
need no method: fresh oracles (the floor) and the models as they were.

The factor of the predicted shifts is fitted on forget sets of the same
construction that are not in the table.
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
from unlearn_jax.attributors import datamodels
from unlearn_jax.metrics import klom
from unlearn_jax.study import forget_sets, subsets
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.unlearners import _words

SPLITS = ('forget', 'retain', 'validation')
_FACTORS = np.arange(0.4, 1.41, 0.05)


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """All seeds; what one has found is kept, so a killed run goes on.

  Returns: `rows` of the table, each with mean and range over the seeds.
  """
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
  summary = {
    'rows': _table(found),
    'seeds': list(settings['seeds']),
    'models': settings['models'],
    'variant': settings['klom'].get('variant', 'default'),
    'factors': [seed['factors'] for seed in found],
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }
  files.write_json(folder / 'benchmark.json', summary)
  return summary


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
  study = _Study(settings, seed, ground, chooser, of_logits, of_margins)
  rows, points = [], {}
  for name in chooser.sets:
    rows += study.compare(name)
    points[name] = study.shown
  return {
    'rows': rows,
    'factors': study.factors,
    'points': points,
    'penalty': float(np.median(of_logits.penalty)),
  }


def points(workdir: str, seed: int) -> dict[str, Any]:
  """Margins of some forgotten points, {set: {row of the table: [[...]]}}."""
  path = pathlib.Path(workdir) / f'seed_{seed}.json'
  return json.loads(path.read_bytes())['points']


class _Study:
  """Everything that the forget sets of one seed share."""

  def __init__(self, settings, seed, ground, chooser, of_logits, of_margins):
    self._settings, self._seed, self._ground = settings, seed, ground
    self._datamodel = of_logits
    self._metric = klom.make(**settings['klom'])
    self._count = settings['models']
    self._base = ground.models(subsets.BASE, self._count)
    self._logits = ground.logits(self._base)
    self._choose = dataclasses.replace(
      chooser,
      effects=of_margins.weights[:, : ground.n],
      features=ground.features(jax.tree.map(lambda leaf: leaf[0], self._base)),
    )
    self.factors: dict[str, float] = {}
    self.shown: dict[str, Any] = {}
    self._used = 0  # indices of oracles

  def compare(self, kind: str) -> list[dict[str, Any]]:
    """The rows of one forget set."""
    logging.info('seed %d: forget set %s', self._seed, kind)
    ground, count = self._ground, self._count
    forget = self._choose(kind)
    evaluation = self._oracles(forget)
    teachers = self._oracles(forget)  # others than those that judge
    truth, fresh = (
      ground.margins(ground.logits(params)) for params in (evaluation, teachers)
    )
    before = ground.margins(self._logits)
    judged = {'fresh oracles': fresh, 'do nothing': before}
    self.factors[kind] = self._factor(kind)
    seconds = {}
    for name, method in self._settings['methods'].items():
      began = time.monotonic()
      judged[name] = self._unlearn(method, kind, forget, teachers)
      seconds[name] = (time.monotonic() - began) / count
    some = forget[:4]
    self.shown = {
      name: margins[:, some].T.tolist()
      for name, margins in {'oracles': truth, **judged}.items()
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

  def _unlearn(self, method, kind, forget, teachers) -> np.ndarray:
    method = dict(method)
    source = method.pop('attributor', 'datamodels')
    calibrated = method.pop('calibrated', True)
    unlearn = registry.make('unlearners', method.pop('name'), **method)
    factor = self.factors[kind] if calibrated else 1.0
    done = unlearn(
      _words.Request(
        model=self._ground.fleet.model,
        params=self._base,
        data=self._ground.train,
        forget=forget,
        seed=self._seed,
        teachers=teachers,
        shift=np.float32(factor * self._shift(source, forget)),
        width=self._settings['width'],
      )
    )
    logits = self._ground.logits(done.params)
    if done.shift is not None:
      logits = logits + done.shift
    return self._ground.margins(logits)

  def _shift(self, source, forget) -> np.ndarray:
    if source == 'datamodels':
      return self._datamodel.shift(forget)
    settings, ground = dict(source), self._ground
    count = settings.pop('checkpoints')
    attribute = registry.make('attributors', settings.pop('name'), **settings)
    params = jax.tree.map(lambda leaf: leaf[:count], self._base)
    found = attribute(ground.setting(params, np.arange(len(ground.x))))
    if found.of != 'logits':
      raise errors.ConfigError(f'{source} says nothing about logits')
    return found.shift(forget)

  def _oracles(self, forget):
    first = subsets.ORACLE + self._used
    self._used += self._count
    return self._ground.models(first, self._count, without=forget)

  def _factor(self, kind: str) -> float:
    """That which comes nearest to oracles of other sets of this kind."""
    ground, totals = self._ground, np.zeros(len(_FACTORS))
    for like in range(1, self._settings['calibration_sets'] + 1):
      forget = self._choose(kind, like)
      truth = ground.margins(ground.logits(self._oracles(forget)))
      shift = self._datamodel.shift(forget)
      # Where the shift is large it counts; all points would cost the hour.
      largest = np.argsort(-np.abs(shift).sum(-1))[:400]
      at = np.union1d(forget, largest)
      for i, factor in enumerate(_FACTORS):
        moved = ground.margins(self._logits + np.float32(factor * shift))
        values = self._metric.per_point(moved[:, at], truth[:, at])
        gone = np.isin(at, forget)
        # Means: percentiles of so few points jump.
        totals[i] += values[gone].mean() + values[~gone].mean()
    return float(_FACTORS[np.argmin(totals)]) if totals.any() else 1.0

  def _score(self, margins, truth, fresh, forget) -> dict[str, Any]:
    at, n = np.arange(margins.shape[1]), self._ground.n
    gone = np.isin(at, forget)
    split = dict(zip(SPLITS, (gone, (at < n) & ~gone, at >= n), strict=True))
    scores = {}
    for name, chosen in split.items():
      found = self._metric(
        unlearned=margins[:, chosen],
        oracles=truth[:, chosen],
        fresh=None if margins is fresh else fresh[:, chosen],
      )
      scores[name] = found.p95.value
      scores[f'{name} corrected'] = found.corrected.value
      scores[f'{name} floor'] = found.floor.p95
    return scores


def _table(found) -> list[dict[str, Any]]:
  """Mean and range over seeds of every row."""
  rows = []
  for same in zip(*(seed['rows'] for seed in found), strict=True):
    row = {name: same[0][name] for name in ('forget set', 'method')}
    for name in SPLITS:
      values = [one[name] for one in same]
      row[name] = {
        'mean': float(np.mean(values)),
        'low': min(values),
        'high': max(values),
        'corrected': float(np.mean([one[f'{name} corrected'] for one in same])),
      }
    times = [one['seconds a model'] for one in same if one['seconds a model']]
    row['seconds a model'] = float(np.mean(times)) if times else None
    rows.append(row)
  return rows
