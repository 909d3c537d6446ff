"""Every method, on every forget set, by every metric: rows, and a leaderboard.

Originals and oracles are trained as a fleet, once. For each kind of forget set
every method gets the same number of trials, on models and on a set of that
kind that are in no table; where rows are corrupted, others are there. Then it
unlearns each published set, for all models side by side, and the panel compares
them with the oracles. What is done is kept by the hash of all it depends on, so
a killed run goes on.
"""

import functools
import inspect
import json
import pathlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import logging

from unlearn_jax import devices, errors, files, registry
from unlearn_jax.study import (
  arena,
  cases,
  corruption,
  exactly,
  forget_sets,
  leaderboard,
  panel,
  subsets,
  tuning,
)
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.unlearners import _words

NOTHING = 'do nothing'
FRESH = 'fresh oracles'


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """The whole study; what an earlier run has found is kept.

  Returns: `leaderboard`, a row for each method and kind of forget set; the rows
  it is made of are in `rows.jsonl`.
  """
  folder, began = pathlib.Path(workdir), time.monotonic()
  study = _Study(settings, folder)
  files.make_folder(folder)
  rows = []
  with progress_lib.Progress(study.units, 'benchmark', 'runs') as bar:
    for name in study.arenas:
      rows += study.in_arena(name, bar)
  text = ''.join(json.dumps(files.to_json(row)) + '\n' for row in rows)
  files.replace(folder / 'rows.jsonl', text.encode())
  return {
    'study': 'benchmark',
    'leaderboard': leaderboard.rank(rows),
    'rows': len(rows),
    'models': settings['models'],
    'few': settings['few'],
    'trials': settings['trials'],
    'forget sets': list(study.sets),
    'arenas': list(study.arenas),
    'left out': study.left_out,
    'config': files.digest(settings),
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }


class _Study:
  """What all cases share: everything that a config says, checked."""

  def __init__(self, settings: Mapping[str, Any], folder: pathlib.Path):
    self._settings, self._folder = settings, folder
    self.arenas = {
      name: _checked(dict(of or {})) for name, of in settings['arenas'].items()
    }
    self.sets = forget_sets.named(
      settings['forget_sets'], settings['forget_size'], datamodel=False
    )
    self._methods = {n: dict(m) for n, m in settings['methods'].items()}
    self._panel = panel.chosen(settings['metrics'])
    self.left_out = {}  # metrics that say nothing in an arena, and why
    self._cases, self._published = {}, {}  # of tuning; forget sets
    if settings['models'] < 3 or settings['few'] < 3:
      raise errors.ConfigError(
        'models and few are at least 3, or nothing says how they scatter; got '
        f'{settings["models"]} and {settings["few"]}'
      )
    for method in self._methods.values():  # A wrong name costs nothing yet.
      if method['name'] != exactly.NAME:
        self._made(method, {})
        self._trials(method)
    for name in settings['sparse_methods']:
      errors.check_choice('sparse method', name, tuple(self._methods))
    self._ground = subsets.prepare(settings, settings['seed'], regression=True)
    self._places = {n: self._place(of, 1) for n, of in self.arenas.items()}
    self._others = {  # to tune in: the same, but for who is corrupted
      self._places[name]: self._place(of, 2) for name, of in self.arenas.items()
    }
    for place in (*self._others, *self._others.values()):
      self._chooser(place).check(1)
    for name, place in self._places.items():
      self.left_out[name] = _told(panel.left_out(self._panel, place))
    self.units = len(self.sets) * sum(
      len(self._named(place)) + 2 for place in self._others
    )

  def _place(self, of, draw: int) -> arena.Arena:
    """The draw says which rows are corrupted, where any are."""
    pruner = {name: value for name, value in of.items() if name != 'corruption'}
    return arena.prepare(
      self._settings,
      self._folder / 'models',
      pruner,
      corrupted=of.get('corruption'),
      draw=draw,
      ground=self._ground,
    )

  def _chooser(self, place) -> forget_sets.Chooser:
    return forget_sets.Chooser(
      data=place.ground.train,
      seed=self._settings['seed'],
      sets=self.sets,
      model=place.ground.fleet.model,
      params=lambda draw: place.models(_CHOOSING + draw, 1).params,
      known=place.harm and place.harm.known,
    )

  def in_arena(self, name: str, bar) -> list[dict[str, Any]]:
    """The rows of all its forget sets."""
    place = self._places[name]
    choose = self._chooser(place)
    forget = {each: choose(each) for each in self.sets}
    self._publish(name, place, forget)
    rows = []
    for each, of_set in self.sets.items():
      case = functools.cache(
        functools.partial(self._case, place, of_set['kind'], forget[each])
      )
      for label in (FRESH, NOTHING, *self._named(place)):
        found = self._row(place, each, label, case)
        head = {
          'arena': name,
          'kind': of_set['kind'],
          'forget set': each,
          'method': label,
        }
        rows += [{**head, **row} for row in found]
        bar.update()
    return rows

  def _publish(self, name: str, place, forget) -> None:
    """Writes the forget sets by id; those of a harm say whose they are."""
    if place.harm:
      forget = {**forget, 'all manipulated': place.harm.manipulated}
      forget = {f'{name}: {each}': at for each, at in forget.items()}
    self._published |= forget
    path = self._folder / 'forget_sets.json'
    forget_sets.save(path, place.ground.train, self._published)

  def _named(self, place) -> list[str]:
    only = self._settings['sparse_methods'] if place.pruner else ()
    return [n for n in self._methods if not only or n in only]

  def _made(self, method: Mapping[str, Any], tuned: Mapping[str, float]):
    settings = {**tuned, **method}
    return registry.make('unlearners', settings.pop('name'), **settings)

  def _trials(self, method: Mapping[str, Any]) -> list[dict[str, float]]:
    given = {n: v for n, v in method.items() if n != 'name'}
    return tuning.trials(method['name'], given, self._settings['trials'])

  def _row(self, place, each: str, label: str, case):
    """What the panel says of one method on one set."""

    def compare():
      logging.info('%s: %s', each, label)
      return self._compare(place, each, label, case())

    facts = {k: self._settings[k] for k in _INPUTS}
    facts = [self.sets[each], {**facts, 'metrics': self._panel}]
    return self._once('found', [self._facts(place, label), facts], compare)

  def _facts(self, place, label: str) -> list[Any]:
    """Models and a method with all its settings, those by default included."""
    facts = [*place.facts, self._settings['seed'], label]
    if label not in self._methods:
      return facts
    method = self._methods[label]
    if method['name'] == exactly.NAME:
      return [*facts, method]
    module = registry.get('unlearners', method['name'])
    usual = {
      name: repr(p.default)
      for name, p in inspect.signature(module.make).parameters.items()
    }
    return [*facts, usual, _source(module), method, self._trials(method)]

  def _once(self, kind: str, facts: Any, make: Callable[[], Any]) -> Any:
    """What is a function of `facts`; from disk if it is known."""
    path = self._folder / kind / f'{files.digest(facts)[:24]}.json'
    if not path.exists():
      found = make()
      files.make_folder(path.parent)
      files.write_json(path, found)
    return json.loads(path.read_bytes())

  def _compare(self, place, each, label, case: cases.Case):
    if label == FRESH:
      return panel.judge(self._panel, case, case.fresh) if case.fresh else []
    if label == NOTHING:
      return panel.judge(self._panel, case, case.original)
    method = self._methods[label]
    if method['name'] == exactly.NAME:
      found = exactly.unlearn(place, self._settings, method, case.forget)
      return panel.judge(self._panel, case, *found)
    tuned, tried = self._tuned(place, each, label)
    done = self._made(method, tuned)(
      self._request(place, case.base, case.forget)
    )
    evidence = place.evidence(done.params)
    if not np.isfinite(evidence.logits).all():
      return [{'metric': 'diverged', 'tuned': tuned}]
    rows = panel.judge(self._panel, case, evidence, done.record)
    return [{**row, 'tuned': tuned, 'trials': tried} for row in rows]

  def _request(self, place, base: arena.Models, forget):
    return _words.Request(
      model=place.ground.fleet.model,
      params=base.params,
      data=place.ground.train,
      forget=forget,
      seed=self._settings['seed'],
      width=place.ground.fleet.width,
      kept=base.kept,
      control=place.control,
      augment=place.ground.fleet.augment,
    )

  def _case(self, place, kind, forget, first=0, count=None) -> cases.Case:
    """Models from the `first`, their oracles, and the answers of both."""
    count = count or self._settings['models']
    unseen = place.harm.manipulated if kind == 'manipulated' else forget
    base = place.models(subsets.BASE + first, count)
    oracles = place.models(subsets.ORACLE + first, count, unseen)
    fresh = None
    if self._settings['fresh_oracles'] and not first:
      fresh = place.models(subsets.ORACLE + count, count, unseen)
      fresh = place.evidence(fresh.params)
    return cases.Case(
      place=place,
      forget=forget,
      unseen=unseen,
      base=base,
      retraining=_words.Record(
        seconds=oracles.seconds,
        compile_seconds=0.0,
        gradients=self._settings['epochs'] * (place.ground.n - len(unseen)),
        outputs=0.0,
      ),
      original=place.evidence(base.params),
      oracles=place.evidence(oracles.params),
      fresh=fresh,
    )

  def _tuned(self, place, each: str, label: str):
    """Settings of a method for a kind of forget set, and what was tried."""
    method = self._methods[label]
    tried = self._trials(method)
    if len(tried) == 1:
      return {}, []

    def distance(settings):
      case = self._tuning_case(place, each)
      request = self._request(case.place, case.base, case.forget)
      done = self._made(method, settings)(request)
      evidence = case.place.evidence(done.params, features=False)
      if not np.isfinite(evidence.logits).all():
        return np.inf
      return panel.distance(case, evidence)

    def tune():
      settings, found = tuning.best(tried, distance)
      pairs = zip(tried, found, strict=True)
      return settings, [{**one, 'gap': gap} for one, gap in pairs]

    facts = {k: self._settings[k] for k in ('tuning_models', 'control_rows')}
    like = {n: v for n, v in self.sets[each].items() if n != 'draw'}
    draws = [s['draw'] for s in self.sets.values() if s['kind'] == like['kind']]
    return self._once(
      'tuned', [self._facts(place, label), facts, like, max(draws)], tune
    )

  def _tuning_case(self, place, each: str) -> cases.Case:
    kind = self.sets[each]['kind']
    if (place, kind) not in self._cases:
      other = self._others[place]
      forget = self._chooser(other)(each, like=1)
      self._cases[place, kind] = self._case(
        other, kind, forget, _TUNING, self._settings['tuning_models']
      )
    return self._cases[place, kind]


def _source(module) -> str:
  """The text of a method: one that was edited is another one."""
  written = hasattr(module, '__file__')  # else it was registered
  method = getattr(module.make, 'unlearn', module.make)
  try:
    return inspect.getsource(module if written else method)
  except OSError:
    return secrets.token_hex()  # unknown, so the same as nothing before


def _told(reasons: Mapping[str, str]) -> str:
  """`a, b (why); c (why)` of {what: why}."""
  by = {
    why: [n for n in reasons if reasons[n] == why] for why in reasons.values()
  }
  return '; '.join(f'{", ".join(names)} ({why})' for why, names in by.items())


def _checked(of: dict[str, Any]) -> dict[str, Any]:
  """An arena whose corruption says everything, if there is one."""
  if of.get('corruption'):
    return {**of, 'corruption': corruption.named(of['corruption'])}
  return of


# Models of these numbers are in no table.
_TUNING, _CHOOSING = 5 * 10**5, 7 * 10**5
# Beside the recipe of the models, what a row is a function of.
_INPUTS = (
  'seed',
  'models',
  'few',
  'fresh_oracles',
  'trials',
  'tuning_models',
  'control_rows',
  'forget_size',
)
