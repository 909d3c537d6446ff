"""The smallest systems: what is kept and said counts here, not what is learned."""

import contextlib
import pathlib
import sqlite3

import numpy as np

from unlearn_jax.exact import system as system_lib

# The smallest of real data, with a test split.
DIGITS = {
  'data': {'name': 'digits'},
  'model': {'name': 'linear'},
  'shards': 2,
  'slices': 2,
}


def write(path, ids, owners=None):
  """A file of examples whose rows are functions of nothing but their place."""
  n = len(ids)
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(n, 2)).astype(np.float32), rng.integers(0, 2, n)
  owners = {} if owners is None else {'owner': np.asarray(owners)}
  np.savez(path, x=x, y=y, id=np.asarray(ids), **owners)


def config(path, **fields):
  return {
    'data': {'name': 'npz', 'file': str(path), 'num_classes': 2},
    'model': {'name': 'linear'},
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1},
    'shards': 2,
    'slices': 2,
    'sequences': {'kind': 'cyclic', 'budget': 1},
    'batch_size': 64,
    **fields,
  }


@contextlib.contextmanager
def system(folder, ids=range(24), owners=None, **fields):
  """One that is not trained, in `folder / 'system'`."""
  write(folder / 'data.npz', ids, owners)
  where = str(folder / 'system')
  made = system_lib.System.create(where, config(folder / 'data.npz', **fields))
  with contextlib.closing(made):
    yield made


def dump(workdir: pathlib.Path) -> list[str]:
  """Everything that its ledger says."""
  with contextlib.closing(sqlite3.connect(workdir / 'ledger.sqlite')) as db:
    return list(db.iterdump())
