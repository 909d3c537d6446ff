"""One line for each method and kind of forget set, from the rows of all sets.

The interval of a mean is a bootstrap over forget sets, then over models. A
value that oracles also show among each other is marked: there, the method
cannot be told from retraining, and two such values do not differ.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_RESAMPLES = 2000
_SHOWN = (  # of these, what was measured
  'UA',
  'MIA',
  'RA',
  'TA',
  'Acc_corr',
  'ASR',
  'IC-ERR',
  'MAE forget',
  'MAE test',
  'W1 forget',
  'gap',
  'KLoM forget',
  'told apart',
  'CKA forget',
  'relearn',
  'cost',
)


def rank(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """The leaderboard, the smallest gap first within an arena and a kind."""
  groups: dict[tuple, list] = {}
  for row in rows:
    key = row['arena'], row['kind'], row['method']
    groups.setdefault(key, []).append(row)
  lines = [
    {
      'arena': arena,
      'kind': kind,
      'method': method,
      'metrics': {
        name: _over_sets([r for r in of_method if r['metric'] == name])
        for name in dict.fromkeys(row['metric'] for row in of_method)
      },
    }
    for (arena, kind, method), of_method in groups.items()
  ]
  order = {
    key: i
    for i, key in enumerate(
      dict.fromkeys((line['arena'], line['kind']) for line in lines)
    )
  }
  return sorted(
    lines,
    key=lambda line: (
      order[line['arena'], line['kind']],
      line['metrics'].get('gap', {}).get('value', np.inf),
    ),
  )


def shown(lines: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
  """The columns that a terminal has room for; = is what oracles also show."""
  measured = {name for line in lines for name in line['metrics']}
  return [
    {
      'set': ' '.join(filter(None, (line['arena'], line['kind']))),
      'method': line['method'],
      **{n: _cell(line['metrics'], n) for n in _SHOWN if n in measured},
    }
    for line in lines
  ]


def _cell(metrics, name: str) -> str:
  if 'diverged' in metrics:  # on one set at least: no mean is that of them all
    return 'diverged'
  found = metrics.get(name, {})
  if 'value' not in found:
    return '-'
  mark = ' =' if found.get('at floor') else ''
  return f'{found["value"]:.2f}{mark}'


def _over_sets(rows) -> dict[str, Any]:
  """The mean over forget sets, and whether all of it is at the floor."""
  without = [row for row in rows if 'value' not in row]
  if without:
    # Of a method that diverged, or a number that has no value on a set: no mean
    # of the others is that of them all.
    return {'sets': len(rows), 'why': without[0].get('undefined')}
  values = np.array([float(row['value']) for row in rows])
  found = {
    'value': float(values.mean()),
    'ideal': rows[0].get('ideal'),
    'sets': len(rows),
  }
  facts = ('gradients', 'seconds', 'compile seconds', 'zeros', 'corrected')
  for name in facts:
    if rows[0].get(name) is not None:
      found[name] = float(np.mean([float(row[name]) for row in rows]))
  if 'floor' in rows[0]:
    found['floor'] = np.mean(
      [np.asarray(row['floor'], float) for row in rows], axis=0
    ).tolist()
    found['at floor'] = all(row['at floor'] for row in rows)
  if 'per_model' in rows[0]:
    draws = _bootstrap([np.asarray(row['per_model'], float) for row in rows])
    found['low'], found['high'] = map(float, np.percentile(draws, [2.5, 97.5]))
  elif 'low' in rows[0]:
    found['low'] = float(np.mean([float(row['low']) for row in rows]))
    found['high'] = float(np.mean([float(row['high']) for row in rows]))
  if found.get('at floor'):
    # A few models have so wide t-intervals that a far mean would pass.
    found['at floor'] = _reaches(found)
  return found


def _reaches(found) -> bool:
  """Whether the interval that is shown comes to what oracles show."""
  _, *floor = found['floor']
  noise = (*floor, float(found['ideal']))  # a floor may be a limit
  return found['low'] <= max(noise) and min(noise) <= found['high']


def _bootstrap(per_model: list[np.ndarray]) -> np.ndarray:
  """Means of resampled sets, each of resampled models, [resamples]."""
  rng = np.random.default_rng(0)
  models = np.stack(per_model)  # [sets, models]
  sets, count = models.shape
  chosen = rng.integers(sets, size=(_RESAMPLES, sets))
  drawn = rng.integers(count, size=(_RESAMPLES, sets, count))
  return models[chosen[..., None], drawn].mean(axis=(1, 2))
