"""Runs the planner on settings: a proposal for each rate, and what else there is.

Settings are those of `fields.plan_config`. Every number is of the same streams
for all choices of a rate.
"""

import math
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unlearn_jax import devices, errors, files
from unlearn_jax.exact import demand as demand_lib
from unlearn_jax.exact import events, planner
from unlearn_jax.exact import profile as profile_lib
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.study.report import of_plan, png

_WINDOWS = 4  # of repairs that a stream must cover
_LINE = ('profile', 'budget', 'policy', 'hours')


def run(settings: Mapping[str, Any], workdir: str) -> dict[str, Any]:
  """All of it; `<workdir>/plan.json`, and a picture for each rate."""
  began, folder = time.monotonic(), pathlib.Path(workdir)
  level = planner.Level(
    **{name: settings[name] for name in ('accuracy', 'depth', 'availability')}
  )
  offered = planner.choices(
    profiles(settings).values(), settings['budgets'], _policies(settings)
  )
  compared = lines(settings)
  demands = [demand(settings, rate) for rate in settings['rates']]
  if not demands:
    raise errors.ConfigError('rates: at least one')
  files.make_folder(folder)
  found = []
  total = len(demands) * (len(offered) + len(compared))
  with progress_lib.Progress(total, 'plan', 'choices') as bar:
    for of in demands:
      found.append(_plan(of, offered, compared, level, settings, bar))
  summary = {
    'study': 'plan',
    'examples': settings['examples'],
    'groups': list(settings['groups']),
    'level': {k: settings[k] for k in ('accuracy', 'depth', 'availability')},
    'streams': settings['streams'],
    'seed': settings['seed'],
    'rates': found,
    'profiles': list(settings['profiles']),
    'seconds': time.monotonic() - began,
    'device': devices.describe(),
  }
  pictures = []
  for figure in of_plan.figures(summary):
    pictures.append(folder / f'{figure.name}.png')
    png.save(figure, pictures[-1])
  summary['pictures'] = [str(path) for path in pictures]
  files.write_json(folder / 'plan.json', summary)
  return summary


def profiles(settings: Mapping[str, Any]) -> dict[str, profile_lib.Profile]:
  """The measured layouts by name."""
  found: dict[str, profile_lib.Profile] = {}
  for values in settings['profiles']:
    one = profile_lib.Profile.from_json(values)
    if one.name in found:
      raise errors.ConfigError(f'two profiles are called {one.name!r}')
    found[one.name] = one
  if not found:
    raise errors.ConfigError('profiles: at least one; measure.py makes them')
  return found


def lines(settings: Mapping[str, Any]) -> dict[str, planner.Choice]:
  """What is compared whatever is proposed, by name."""
  known, found = profiles(settings), {}
  for name, values in settings['lines'].items():
    for key in values:
      errors.check_choice(f'field of line {name!r}', key, _LINE)
    missing = [key for key in _LINE[:3] if key not in values]
    if missing:
      raise errors.ConfigError(f'line {name!r} lacks {", ".join(missing)}')
    errors.check_choice('profile', values['profile'], tuple(known))
    policy = events.Policy(values['policy'], 3600 * values.get('hours', 0.0))
    choice = planner.Choice(known[values['profile']], values['budget'], policy)
    choice.check()
    found[name] = choice
  return found


def demand(settings: Mapping[str, Any], rate: float) -> demand_lib.Demand:
  """Who asks, at so many requests a day."""
  groups = [demand_lib.Group(**group) for group in settings['groups']]
  return demand_lib.Demand(
    examples=settings['examples'], rate=rate, groups=groups
  )


def shown(row: Mapping[str, Any]) -> dict[str, str]:
  """An evaluated choice for a person."""

  def value(name, digits=3, scale=1.0):
    # Of JSON they may be words.
    mean, low, high = (float(row[name][k]) for k in ('mean', 'low', 'high'))
    if not np.isfinite(mean):
      return '-'
    return f'{scale * mean:.{digits}g} +- {scale * (high - low) / 2:.1g}'

  return {
    'choice': row['choice'],
    'available': value('availability'),
    'depth': value('depth'),
    'accuracy': value('accuracy'),
    'samples a request': value('samples_a_request'),
    'device s a request': value('repair_hours_a_request', scale=3600),
    'device s a served request': value('hours_a_served_request', scale=3600),
    'until failure': _failure(row),
    'MB': f'{row["bytes"] / 1e6:.3g}',
  }


def table(found: Mapping[str, Any]) -> list[dict[str, str]]:
  """What there is to say of one rate: the proposal first, then the lines."""
  rows = []
  if found['proposal'] is not None:
    rows.append(('proposed', found['choices'][found['proposal']]))
  rows += [(row['line'], row) for row in found['lines']]
  return [{'what': name, **shown(row)} for name, row in rows]


def _plan(of, offered, compared, level, settings, bar) -> dict[str, Any]:
  """Everything at one rate; streams are long enough for the lines' windows."""
  longest = max((line.policy.window for line in compared.values()), default=0)
  least = math.ceil(_WINDOWS * longest * of.rate / demand_lib.DAY)
  drawn = planner.streams(
    of,
    requests=max(settings['requests'], least),
    count=settings['streams'],
    seed=settings['seed'],
  )
  # What repairs once a stream was hardly seen at work.
  most = drawn[0].end / _WINDOWS
  kept = [choice for choice in offered if choice.policy.window <= most]

  def evaluated(choices: Sequence[planner.Choice]) -> list[dict[str, Any]]:
    rows = []
    for choice in choices:
      rows.append(planner.evaluate(choice, of, drawn))
      bar.update(1)
    return rows

  rows = evaluated(kept)
  named = zip(compared, evaluated(list(compared.values())), strict=True)
  return {
    'rate': of.rate,
    'requests': drawn[0].requests,
    'left_out': len(offered) - len(kept),
    'proposal': planner.propose(rows, level),
    'undominated': planner.undominated(rows),
    'choices': rows,
    'lines': [{'line': name, **row} for name, row in named],
  }


def _policies(settings: Mapping[str, Any]) -> list[events.Policy]:
  windows = [
    events.Policy('window', 3600 * hours) for hours in settings['windows']
  ]
  plain = [kind for kind in events.POLICIES if kind != 'window']
  return [*map(events.Policy, plain), *windows]


def _failure(row) -> str:
  lived = row['survived']['mean']
  text = f'{row["deletions_until_failure"]["mean"]:.4g}'
  if not lived:
    return text
  return f'>= {text}' if lived < 1 else 'none seen'
