"""How well attributions predict: their LDS on models of subsets never fitted.

K masks are held out, each trained by several seeds; every attributor predicts
the margins of those models at validation points, and only the order of its
predictions counts. Datamodels are scored at growing numbers of models, the
others at growing numbers of checkpoints.
"""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from unlearn_jax import (
  checkpoints,
  devices,
  errors,
  files,
  losses,
  registry,
)
from unlearn_jax.attributors import datamodels
from unlearn_jax.metrics import lds
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.study import subsets


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """The table of one seed; the largest datamodel is kept in the directory."""
  _check(settings)
  folder, began = pathlib.Path(workdir), time.monotonic()
  files.make_folder(folder)
  seed = settings['seeds'][0]
  ground = subsets.prepare(settings, seed)
  points = ground.n + np.arange(min(300, len(ground.rest)))
  truth = _Truth(ground, settings, seed, points)
  rows = _of_datamodels(ground, settings, seed, truth, folder)
  rows += _of_checkpoints(ground, settings, truth)
  return {
    'rows': rows,
    'masks': settings['lds_masks'],
    'seeds_a_mask': settings['lds_seeds'],
    'alpha': settings['alpha'],
    'targets': len(points),
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }


def _check(settings) -> None:
  """Builds what has a name once: a wrong one shows before any training."""
  subsets.check_alpha(settings['alpha'])
  for name, least in (('lds_masks', 3), ('lds_seeds', 1)):
    if settings[name] < least:
      raise errors.ConfigError(
        f'{name} is at least {least}, got {settings[name]}'
      )
  datamodels.make(**settings['datamodel'])
  for estimator in settings['estimators']:
    datamodels.make(estimator=estimator)
  for chosen in settings['attributors']:
    _made(chosen)


def _made(chosen):
  """An attributor, its name, and the number of models it looks at."""
  named = dict(chosen)
  count, name = named.pop('checkpoints'), named.pop('name')
  return registry.make('attributors', name, **named), name, count


class _Truth:
  """Held-out models, and what a prediction of them is worth."""

  def __init__(self, ground, settings, seed, points):
    count, seeds = settings['lds_masks'], settings['lds_seeds']
    # Draws of their own: these masks are in no datamodel.
    self.masks = subsets.masks(count, ground.n, settings['alpha'], seed + 10**6)
    self.points, self._metric, found = points, lds.make(), []
    total = count * seeds
    with progress_lib.Progress(total, 'held out', 'models') as bar:
      for k in range(seeds):
        first = subsets.HELD_OUT + k * count
        chunks = ground.fleet.train(self.masks, first + np.arange(count))
        mine = []
        for chunk in chunks:
          margins = ground.margins(ground.logits(chunk.params))
          mine.append(margins[:, points])
          bar.update(len(chunk.indices))
        found.append(np.concatenate(mine))
    self._margins = np.stack(found)

  def row(self, name: str, predictions, **of) -> dict[str, Any]:
    """A row of the table; `of` says what the predictions rest on."""
    found = self._metric(predictions=predictions, margins=self._margins)
    return {
      'attributor': name,
      **of,
      'lds': found.lds.value,
      'low': found.lds.low,
      'high': found.lds.high,
    }


def _of_datamodels(ground, settings, seed, truth, folder):
  count = settings['subset_models']
  steps = [m for m in settings['lds_at'] if m < count] + [count]
  seen = subsets.masks(count, ground.n, settings['alpha'], seed)
  sums, rows, done = subsets.Sums(ground), [], 0
  with progress_lib.Progress(count, 'datamodel', 'models') as bar:
    for upto in steps:
      indices = subsets.SUBSET + np.arange(done, upto)
      for chunk in ground.fleet.train(seen[done:upto], indices):
        part = slice(done, done + len(chunk.indices))
        sums.add(ground, seen[part], ground.logits(chunk.params))
        done = part.stop
        bar.update(len(chunk.indices))
      for estimator in settings['estimators']:
        model = datamodels.fit(sums.margins, estimator=estimator)
        predicted = model.predict(truth.masks)[:, truth.points]
        rows.append(truth.row(estimator, predicted, models=done))
  best = datamodels.fit(sums.logits, **settings['datamodel'])
  tree = {'weights': best.weights, 'intercept': best.intercept}
  facts = {'ids': ground.train.ids.tolist(), 'models': count}
  checkpoints.save(folder / 'datamodel', tree, facts, overwrite=True)
  return rows


def _of_checkpoints(ground, settings, truth):
  """Attributors that look at trained models and not at subsets."""
  most = max((m['checkpoints'] for m in settings['attributors']), default=0)
  base = ground.models(subsets.BASE, most) if most else None
  rows = []
  for chosen in settings['attributors']:
    attribute, name, count = _made(chosen)
    params = jax.tree.map(lambda leaf, k=count: leaf[:k], base)
    found = attribute(ground.setting(params, truth.points))
    if found.scores is not None:
      predicted = truth.masks.astype(np.float32) @ found.scores
    else:
      shifts = [found.shift(np.flatnonzero(~mask)) for mask in truth.masks]
      predicted = np.stack(shifts)
    if found.of == 'logits':
      now = ground.fleet.outputs(params, ground.x[truth.points]).mean(axis=0)
      labels = ground.y[truth.points]
      logits = np.float32(now + predicted)
      predicted = jax.vmap(losses.margin, (0, None))(logits, labels)
    rows.append(truth.row(name, np.asarray(predicted), models=count))
  return rows
