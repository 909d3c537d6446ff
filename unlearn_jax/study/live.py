"""Serving while requests come: simulated streams, and one run for real.

The streams are followed event by event (`exact/events.py`) with stage times and
depth curves that were measured. The real run deletes from a tiny system and
repairs it, request after request, beside what was predicted of the same
requests before.
"""

import contextlib
import json
import pathlib
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unlearn_jax import devices, errors, files, losses
from unlearn_jax.exact import demand as demand_lib
from unlearn_jax.exact import events, planner, theory
from unlearn_jax.exact import profile as profile_lib
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study import measuring, planning
from unlearn_jax.study import progress as progress_lib

_PARTS = ('measured', 'system')  # folders of a real run
_APART = 1e9  # seconds between requests, so that no repair meets the next one


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """All of it; the summary also stands in `<workdir>/live.json`."""
  began, folder = time.monotonic(), pathlib.Path(workdir)
  lines = planning.lines(settings)
  live, real = settings['live'], settings['real']
  demands = [planning.demand(settings, rate) for rate in live['rates']]
  if not demands:
    raise errors.ConfigError('live.rates: at least one')
  if live['bins'] < 1:
    raise errors.ConfigError(f'live.bins is at least 1, got {live["bins"]}')
  if real['seeds']:
    _check_real(real['requests'], real['batches'])
  asked = [
    planner.streams(
      of,
      requests=live['requests'],
      count=live['streams'],
      seed=settings['seed'],
    )
    for of in demands
  ]
  files.make_folder(folder)
  found = []
  total = len(demands) * len(lines)
  with progress_lib.Progress(total, 'live', 'policies') as bar:
    for of, drawn in zip(demands, asked, strict=True):
      rows = []
      for name, choice in lines.items():
        rows.append(follow(name, choice, of, drawn, bins=live['bins']))
        bar.update(1)
      found.append({'rate': of.rate, 'lines': rows})
  summary = {
    'study': 'live',
    'requests': live['requests'],
    'streams': live['streams'],
    'examples': settings['examples'],
    'seed': settings['seed'],
    'rates': found,
    'real': _kept(real, folder / 'real') if real['seeds'] else None,
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }
  files.write_json(folder / 'live.json', summary)
  return summary


def follow(
  name: str,
  choice: planner.Choice,
  demand: demand_lib.Demand,
  drawn: Sequence[demand_lib.Stream],
  *,
  bins: int,
) -> dict[str, Any]:
  """What one policy serves over time, mean over streams, and what it costs."""
  profile = choice.profile
  whole = profile.shards * profile.slices
  values = {
    'accuracy': profile.worth,
    'depth': lambda depths: sum(depths) / whole,
    'availability': lambda depths: float(any(depths)),
  }
  edges = np.linspace(0.0, drawn[0].end, bins + 1)
  curves: dict[str, list[np.ndarray]] = {name: [] for name in values}
  for stream in drawn:
    asked = stream.on(profile.shards, profile.slices)
    past = events.follow(profile, choice.sequences, choice.policy, asked)
    for of, value in values.items():
      curves[of].append(past.means(value, edges))
  return {
    'line': name,
    **planner.evaluate(choice, demand, drawn),
    'hours': (edges[1:] / 3600).tolist(),
    'curves': {of: _over_streams(each) for of, each in curves.items()},
  }


def table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
  """The lines of one rate for a person."""
  return [{'line': row['line'], **planning.shown(row)} for row in rows]


def real(
  recipe: Mapping[str, Any],
  workdir: str,
  *,
  requests: int,
  batches: Sequence[int],
  seeds: Sequence[int],
) -> dict[str, Any]:
  """Deletes and repairs a real system, beside what was predicted.

  Paces are those of another system of the recipe, repaired in turn with it, so
  that what disturbs the machine disturbs both.

  Args:
    recipe: of a tiny system with a test split.
    workdir: new; the measured system and the one of the run are made in it.
    requests: of each stream.
    batches: so many requests before each repair, one stream after the other.
    seeds: of who asks; all streams are of one system, which goes on shrinking.
  """
  _check_real(requests, batches)
  folder = pathlib.Path(workdir)
  other, system = (
    system_lib.System.create(str(folder / part), recipe) for part in _PARTS
  )
  rows = []
  with contextlib.closing(system), contextlib.closing(other):
    other.train()
    known = measuring.facts(other, 'tiny')
    calibration = measuring.Calibration(other)
    system.train()
    places = measuring.Places(system)
    for seed in seeds:
      for batch in batches:
        rng = np.random.default_rng(seed)
        left = np.flatnonzero(places.alive)
        chosen = rng.permutation(left)[:requests].reshape(-1, batch)
        one = _Stream(system, places, chosen, known, calibration)
        rows.append({'seed': seed, 'batch': batch, **one.run()})
  return {'rows': rows, 'requests': requests, 'recipe': dict(recipe)}


def real_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
  """Predicted against measured, for a person."""

  def pair(of, digits=0):
    off = of['predicted'] / of['measured'] - 1
    return (
      f'{of["predicted"]:.{digits}f} / {of["measured"]:.{digits}f} '
      f'({100 * off:+.1f} %)'
    )

  return [
    {
      'seed': str(row['seed']),
      'requests a repair': str(row['batch']),
      'samples': pair(row['samples']),
      'expected samples': pair(row['expected_samples']),
      'CPU seconds': pair(row['seconds']['cpu'], 2),
      'seconds': pair(row['seconds']['wall'], 2),
      'accuracy before repairs': pair(row['accuracy'], 4),
      'depths as predicted': f'{row["depths_equal"]} of {row["depths"]}',
    }
    for row in rows
  ]


class _Stream:
  """One stream of requests on a real system."""

  def __init__(self, system, places, chosen: np.ndarray, known, calibration):
    """`chosen` [repairs, batch] positions; `known` is all but the paces."""
    self._system, self._places, self._chosen = system, places, chosen
    self._known, self._calibration = known, calibration
    self._test, recipe = system.recipe.open_data('test'), system.recipe
    flat = chosen.ravel()
    # All of this before anything happens.
    self._asked = demand_lib.Asked(
      times=np.repeat(_APART * np.arange(1, len(chosen) + 1), chosen.shape[1]),
      shard=places.shard[flat],
      part=places.part[flat],
      rows=np.ones(len(flat), np.int64),
      counts=places.counts(recipe.shards, recipe.slices),
      end=_APART * (len(chosen) + 1),
    )
    left, batch = int(places.alive.sum()), chosen.shape[1]
    self._expected = sum(
      recipe.epochs
      * theory.rows_of_repair(
        system.sequences,
        records=left - number * batch,
        shards=recipe.shards,
        requests=batch,
      )
      for number in range(len(chosen))
    )

  def run(self) -> dict[str, Any]:
    """Does it; predicted and measured of everything."""
    samples, seconds = 0, {clock: [] for clock in measuring.CLOCKS}
    accuracy, depths, non_use, timed = [], [], [], []
    for batch in self._chosen:
      gone: set[str] = set()
      for position in batch.tolist():
        receipt = measuring.delete(self._system, self._places, [position])
        gone |= set(receipt.gone)
        depths.append(receipt.depths)
        non_use.append(receipt.seconds)
      if any(receipt.depths):
        accuracy.append(self._accuracy())
      done = measuring.repair(self._system, self._places, gone)
      samples += self._system.recipe.epochs * done.told
      for clock, of in done.whole.items():
        seconds[clock].append(of)
      timed.append(self._calibration.repair())
    while len(timed) < len(self._calibration):
      timed.append(self._calibration.repair())
    return {
      **self._against(samples, seconds, timed),
      'accuracy': {
        'predicted': self._worth(),
        'measured': float(np.mean(accuracy)),
      },
      'depths': len(depths),
      'depths_equal': sum(
        a == b for a, b in zip(depths, self._served(), strict=True)
      ),
      'seconds_to_non_use': float(np.max(non_use)),
    }

  def _against(self, samples: int, seconds, timed) -> dict[str, Any]:
    """Samples and seconds, as the paces of the other system have them."""
    found = measuring.profiles(self._known, timed, self._system.recipe)
    past = {clock: self._follow(of) for clock, of in found.items()}
    self._past, self._profile = past['cpu'], found['cpu']
    each = {c: [r.end - r.begin for r in of.repairs] for c, of in past.items()}
    return {
      'repairs': len(self._chosen),
      'samples': {'predicted': self._past.samples, 'measured': samples},
      'expected_samples': {'predicted': self._expected, 'measured': samples},
      'seconds': {
        clock: {
          'predicted': sum(each[clock]),
          'measured': sum(seconds[clock]),
          'predicted_each': each[clock],
          'measured_each': seconds[clock],
        }
        for clock in measuring.CLOCKS
      },
      'profiles': found,
    }

  def _follow(self, values: Mapping[str, Any]) -> events.History:
    return events.follow(
      profile_lib.Profile.from_json(values),
      self._system.sequences,
      events.Policy('at once'),
      self._asked,
    )

  def _served(self) -> list[tuple[int, ...]]:
    """Predicted depths after each request."""
    size = self._chosen.shape[1]
    # Changes: the beginning, and then the requests of a repair and itself.
    starts = range(1, len(self._past.depths), size + 1)
    return [self._past.depths[i + j] for i in starts for j in range(size)]

  def _worth(self) -> float:
    """Predicted accuracy, mean over the moments before the repairs."""
    size = self._chosen.shape[1]
    last = self._served()[size - 1 :: size]
    profile = profile_lib.Profile.from_json(self._profile)
    found = [profile.worth(depths) for depths in last]
    return float(np.mean([w for w in found if w is not None]))

  def _accuracy(self) -> float:
    outputs = self._system.predict(self._test.all().x)
    return float(np.mean(losses.correct(outputs, self._test.labels)))


def _check_real(requests: int, batches: Sequence[int]) -> None:
  if not batches or any(requests % batch for batch in batches):
    raise errors.ConfigError(
      f'{requests} requests are no multiple of the batches {list(batches)}'
    )
  measuring.check_device()


def _over_streams(each: Sequence[np.ndarray]) -> dict[str, list[float]]:
  found = [planner.interval(values) for values in np.transpose(each)]
  return {k: [of[k] for of in found] for k in ('mean', 'low', 'high')}


def _kept(settings: Mapping[str, Any], folder: pathlib.Path) -> dict[str, Any]:
  """The real run, or what an earlier one of these settings has found."""
  path, asked = folder / 'real.json', files.digest(settings)
  if path.exists():
    found = json.loads(path.read_bytes())
    if found['settings'] != asked:
      raise errors.WorkdirError(f'{folder} holds a run of other settings')
    if 'rows' in found:
      return found
    for part in _PARTS:  # of a run that was cut off; its times are no use
      shutil.rmtree(folder / part, ignore_errors=True)
  files.make_folder(folder)
  files.write_json(path, {'settings': asked})
  found = {**real(workdir=str(folder), **settings), 'settings': asked}
  files.write_json(path, found)
  return found
