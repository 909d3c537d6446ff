"""Planted leaks: which metrics notice that a part was not forgotten?

A model that is trained on all but the forget set and then on a known part of it
leaks by construction. A trial asks the panel to compare a group of such models
with a group of oracles, once; null trials compare oracles with oracles. A
metric notices a trial if its number is farther from what oracles show (the
median of the null trials) than all but 5 % of them; the share of the trials it
notices is its power. At leaks of 0 oracles are judged that gave no threshold:
5 % is right.

Edits of the head alone are asked about too: originals that never answer the
forgotten class, while all their features are as they were.
"""

import functools
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from absl import logging

from unlearn_jax import devices, errors, files
from unlearn_jax.metrics._words import COVERAGE
from unlearn_jax.study import arena, forget_sets, panel, planted
from unlearn_jax.study import progress as progress_lib

FALSE_POSITIVES = 0.05
_LEAST_NULL = 19  # of fewer, no quantile is that far out
_LEAST_MODELS = 6  # what the metrics of ensembles need
_DIGITS = 9  # of a value; beyond them it is rounding
# What a row of the panel holds beside its value, and the ideal is 0.
_BESIDE = ('corrected', 'to original')

Values = dict[str, list[float]]  # of each metric, one a trial


class Power(NamedTuple):
  """How often a metric notices, with the interval of that share."""

  value: float
  low: float
  high: float
  threshold: float  # distance from what oracles show


def power(null: Sequence[float], trials: Sequence[float]) -> Power:
  """Power of a metric, from its values in null trials and in others.

  The interval is Wilson's for the trials; the threshold is taken as it is.
  """
  null, trials = (np.round(values, _DIGITS) for values in (null, trials))
  if len(null) < _LEAST_NULL:
    raise errors.DataError(
      f'null trials must be at least {_LEAST_NULL}, got {len(null)}'
    )
  # Each null trial from the others, as any other trial is from all of them.
  others = [np.median(np.delete(null, i)) for i in range(len(null))]
  threshold = np.quantile(
    np.abs(null - others), 1 - FALSE_POSITIVES, method='weibull'
  )
  far = np.round(np.abs(trials - np.median(null)) - threshold, _DIGITS) > 0
  share = scipy.stats.binomtest(int(far.sum()), len(far))
  interval = share.proportion_ci(COVERAGE, method='wilson')
  return Power(
    float(far.mean()),
    float(interval.low),
    float(interval.high),
    float(threshold),
  )


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """The whole study; sizes of leaks that an earlier run has done are kept.

  Returns: `rows`, the power of each metric for each forget set and leak.
  """
  began, folder = time.monotonic(), pathlib.Path(workdir)
  study = _Study(settings, folder)
  rows = []
  with progress_lib.Progress(study.trials, 'leaks', 'trials') as bar:
    for name in study.sets:
      rows += study.rows(name, bar)
  return {
    'study': 'leaks',
    'rows': rows,
    'models': settings['models'],
    'few': settings['few'],
    'null trials': settings['null_trials'],
    'trials': settings['trials'],
    'false positives': FALSE_POSITIVES,
    'seed': settings['seed'],
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
  """The rows of one forget set for a person: a line for each metric."""
  lines: dict[str, dict[str, str]] = {}
  for row in rows:
    line = lines.setdefault(row['metric'], {'metric': row['metric']})
    line[row['leak']] = '{power:.2f} ({low:.2f} to {high:.2f})'.format(**row)
  return list(lines.values())


class _Study:
  """What all forget sets share: everything that a config says, checked."""

  def __init__(self, settings: Mapping[str, Any], folder: pathlib.Path):
    _check(settings)
    self._settings, self._folder = settings, folder
    self._panel = panel.chosen(settings['metrics'])
    self.sets = forget_sets.named(
      settings['forget_sets'], settings['forget_size']
    )
    self._place = arena.prepare(settings, folder / 'models', None)
    if not self._place.classes:
      raise errors.ConfigError('leaks are of classes; this is a regression')
    self._choose = forget_sets.Chooser(
      data=self._place.ground.train, seed=settings['seed'], sets=self.sets
    )
    self._choose.check(0)
    leaks = len(settings['leaks'])
    self.trials = sum(
      settings['null_trials']
      + settings['trials'] * (leaks + len(self._edits(name)))
      for name in self.sets
    )

  def rows(self, name: str, bar) -> list[dict[str, Any]]:
    """Power of each metric, for each leak from this forget set."""
    of_set = planted.Trials(
      self._place, self._settings, name, self._choose(name)
    )

    def values(label, trial, count):
      return self._found(name, label, trial, count, bar)

    null = values('null', of_set.null, self._settings['null_trials'])
    kinds = {
      f'{100 * share:g} %': functools.partial(of_set.leak, share)
      for share in self._settings['leaks']
    }
    kinds |= {
      edit: functools.partial(of_set.edit, edit) for edit in self._edits(name)
    }
    rows = []
    for label, trial in kinds.items():
      found = values(label, trial, self._settings['trials'])
      rows += [
        {
          'forget set': name,
          'metric': metric,
          'leak': label,
          **dict(
            zip(
              ('power', 'low', 'high', 'threshold'),
              power(null[metric], of_metric),
              strict=True,
            )
          ),
          'null': float(np.median(null[metric])),
          'value': float(np.median(of_metric)),
        }
        for metric, of_metric in found.items()
        if metric in null
      ]
    return rows

  def _edits(self, name: str) -> Sequence[str]:
    """Only a class can be wiped."""
    of_class = self.sets[name]['kind'] == 'class'
    return self._settings['edits'] if of_class else ()

  def _found(self, name, label, trial, count: int, bar) -> Values:
    """Values of all trials of one leak; from disk if they are there."""
    facts = [
      self._place.recipe,
      self.sets[name],
      [name, label, count],
      {k: self._settings[k] for k in _INPUTS},
      self._panel,
    ]
    path = self._folder / 'found' / f'{files.digest(facts)[:24]}.json'
    if path.exists():
      bar.update(count)
      return json.loads(path.read_bytes())
    logging.info('forget set %s, leak %s', name, label)
    values: Values = {}
    for number in range(count):
      found = panel.judge(self._panel, *trial(number))
      for row in (row for row in found if 'value' in row):
        values.setdefault(row['metric'], []).append(float(row['value']))
        for beside in _BESIDE:
          if beside in row:
            metric = f'{row["metric"]}, {beside}'
            values.setdefault(metric, []).append(float(row[beside]))
      bar.update()
    # Power is of all trials: a number that one of them does not have, such as
    # retention where an oracle is never right, has none.
    values = {name: of for name, of in values.items() if len(of) == count}
    files.make_folder(path.parent)
    files.write_json(path, values)
    return values


def _check(settings) -> None:
  for name, least in (
    ('null_trials', _LEAST_NULL),
    ('trials', 1),
    ('models', _LEAST_MODELS),
    ('few', 3),
  ):
    if settings[name] < least:
      raise errors.ConfigError(
        f'{name} is at least {least}, got {settings[name]}'
      )
  for name, most in (('trials', 'null_trials'), ('few', 'models')):
    if settings[name] > settings[most]:
      raise errors.ConfigError(
        f'{name} is at most {most}, {settings[most]}; got {settings[name]}'
      )
  for share in settings['leaks']:
    if not 0 <= share <= 1:
      raise errors.ConfigError(f'a leak is a part, 0 to 1; got {share}')
  for name in settings['edits']:
    errors.check_choice('edit', name, planted.EDITS)


# Beside the recipe of the models, what a value is a function of.
_INPUTS = (
  'seed',
  'models',
  'few',
  'control_rows',
  'null_trials',
)
