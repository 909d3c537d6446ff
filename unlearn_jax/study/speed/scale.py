"""What an example costs the host that keeps the books, and what that makes
of a billion of them on a thousand hosts. The second part is arithmetic.
"""

import pathlib
import time
from typing import Any

import numpy as np

from unlearn_jax import devices
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import stages
from unlearn_jax.study.speed import pairs

_EXAMPLES, _HOSTS, _SLICES = 10**9, 1000, 20
_HOUR = 3600.0


def scale(folder: pathlib.Path, quick: bool) -> list[pairs.Row]:
  """Unit costs of the books, and where time and bytes of many hosts go.

  Of the extrapolation: a shard a host, one order of the slices; the lead keeps
  all books, as it does today.
  """
  rows = 100_000 if quick else 1_000_000
  unit = _unit_costs(folder / 'scale.sqlite', rows)
  named: dict[str, Any] = {'ids': rows, 'hosts': _HOSTS, 'examples': _EXAMPLES}
  in_slice = _EXAMPLES / (_HOSTS * _SLICES)
  names = _HOSTS * _SLICES
  found = {
    'ledger, bytes of an example': (unit['bytes'], 'B'),
    'memory of the lead, bytes of an example': (unit['memory'], 'B'),
    'open: read, hash and sort a million': (1e6 * unit['open'], 's'),
    'one deletion: hash a million leaves again': (1e6 * unit['root'], 's'),
    'one deletion: a million names': (1e6 * unit['name'], 's'),
    '10^9, 1,000 hosts: ledger': (_EXAMPLES * unit['bytes'] / 1e9, 'GB'),
    '10^9, 1,000 hosts: memory of the lead': (
      _EXAMPLES * unit['memory'] / 1e9,
      'GB',
    ),
    '10^9, 1,000 hosts: to open': (_EXAMPLES * unit['open'] / _HOUR, 'h'),
    '10^9, 1,000 hosts: one deletion': (
      in_slice * unit['root'] + names * unit['name'],
      's',
    ),
  }
  return [
    pairs.Row(what, value, value, value, of, '', details=named)
    for what, (value, of) in found.items()
  ]


def _unit_costs(path: pathlib.Path, rows: int) -> dict[str, float]:
  """Seconds and bytes of one example, or of one name."""
  rng = np.random.default_rng(0)
  ids = np.arange(rows)
  contents = rng.integers(0, 256, (rows, 32), np.uint8)
  ledger = ledger_lib.Ledger(path, bytes(32), create=True)
  ledger.admit(ids, ids, contents, {})
  ledger.forget()
  size = path.stat().st_size
  recipe = recipe_lib.Recipe(data={}, model={}, shards=1, slices=_SLICES)
  before, began = devices.peak_memory(), time.perf_counter()
  records = records_lib.Records(recipe, bytes(32), *ledger.records())
  roots = records.roots()
  opened, memory = time.perf_counter() - began, devices.peak_memory() - before
  ledger.close()
  for left in path.parent.glob(f'{path.name}*'):
    left.unlink()
  records.set_alive(np.arange(_SLICES * 50), False)  # touches every slice
  hashed = pairs.clock(records.roots)
  stage = stages.Stage(0, tuple(range(_SLICES)))
  named = pairs.clock(
    lambda: [stages.name(bytes(32), stage, roots) for _ in range(10_000)]
  )
  return {
    'bytes': size / rows,
    'memory': memory / rows,
    'open': opened / rows,
    'root': hashed / rows,
    'name': named / 10_000,
  }
