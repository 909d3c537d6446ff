"""What is stored is what was stored, or it is refused by name.

One bit, a whole file, a stage under another name, an older copy: whoever reads
a store in which something was changed gets a typed error that names the file,
or exactly the answers from before.
"""

import collections
import contextlib
import functools
import pathlib
import random

import numpy as np
import pytest

from unlearn_jax import errors, trees
from unlearn_jax.exact import books, canary, home, store
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import system as system_lib

IDS, LATER = list(range(1, 25)), [25, 26]
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def _write(path, ids):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(99, 3)).astype(np.float32)[ids]
  owners = np.char.add('owner-', (np.array(ids) // 3).astype(str))
  np.savez(path, x=x, y=(x[:, 0] > 0).astype(int), id=ids, owner=owners)


def _config(path, **fields):
  return {
    'data': {'name': 'npz', 'file': str(path), 'num_classes': 2},
    'model': {'name': 'linear'},
    'optimizer': {'name': 'adam', 'learning_rate': 0.1},
    'shards': 2,
    'slices': 2,
    'sequences': {'kind': 'cyclic', 'budget': 1},
    'batch_size': 8,
    **fields,
  }


def _live(folder, **fields):
  """A closed system that has deleted, named and unnamed, and added."""
  data, path = folder / 'data.npz', folder / 'system'
  _write(data, IDS)
  system = system_lib.System.create(str(path), _config(data, **fields))
  system.train()
  system.delete(ids=[1, 2], name='first')
  system.delete(owners=['owner-3'])
  system.repair()
  _write(data, IDS + LATER)
  system.add(LATER)
  system.repair()
  system.delete(ids=[LATER[0]])  # not repaired: the ledger knows more
  system.close()
  return path


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return _live(tmp_path_factory.mktemp('integrity'))


@pytest.fixture(scope='module')
def before(path):
  """What is read of each part while nothing is wrong."""
  return {name: _read(path, name) for name in _files(path)}


@pytest.fixture(scope='module')
def answers(path):
  return _answers(path)


def _files(path):
  return sorted(
    file.relative_to(path).as_posix()
    for file in path.rglob('*')
    if file.is_file() and file.suffix != '.lock'
  )


def _read(path, name):
  """All that depends on one file, by the shortest way of a system."""
  if name == 'system.json':
    facts = home.read(path)
    return facts, recipe_lib.Recipe.from_json(facts['recipe']).to_json()
  if name == 'canary.json':
    return canary.known(path / name)
  if name == 'ledger.sqlite':
    return _read_ledger(path)
  name = pathlib.Path(name).parts[1]
  stages = store.Store(path / 'stages')
  return trees.digest(stages.load(name)), stages.facts(name), stages.proof(name)


def _read_ledger(path):
  kept = books.Books(path, *_about(path))
  with contextlib.closing(kept):
    book = kept.ledger
    owners = [f'owner-{n}' for n in range(9)]
    (token,) = book.tokens(['first'], 'request')
    told = book.last_with('roots'), book.last_with('made')
    rows = [column.tolist() for column in book.records()]
    return (
      rows,
      book.requests(),
      book.was_deleted(IDS + LATER).tolist(),
      book.was_deleted(owners, 'owner').tolist(),
      [book.tokens_of(request.seq) for request in book.requests()],
      [book.row_of(request.seq) for request in book.requests()],
      book.known(token),
      book.epoch(),
      book.head(),
      book.log(),
      told,
    )


@functools.cache
def _about(path):
  """What `books.Books` is told, read once."""
  facts = home.read(path)
  recipe = recipe_lib.Recipe.from_json(facts['recipe'])
  return recipe, bytes.fromhex(facts['salt']), recipe.open_data()


def _answers(path):
  """What a whole system says."""
  system = system_lib.System.open(str(path))
  with contextlib.closing(system):
    have = system._store.names()
    there = [s for s, name in system.names().items() if name in have]
    return (
      system.digests(),
      system.served(),
      {str(stage): name for stage, name in system.names().items()},
      system.status(),
      system.head(),
      system.predict(X).tolist(),
      system.answers(there, X).tolist(),
      system._books.ledger.was_deleted(IDS + LATER).tolist(),
    )


def _damage(path, before, name, content):
  """'refused' or 'the same', when a file holds something else; else an error."""
  file = path / name
  original = file.read_bytes()
  file.write_bytes(content)
  try:
    assert _read(path, name) == before[name], f'{name} was read as another'
    return 'the same'
  except errors.UnlearnError as error:
    named = pathlib.Path(name).parts
    assert named[1 if named[0] == 'stages' else 0] in str(error)
    return 'refused'
  finally:
    _restore(path, file, original)


def _restore(path, file, original):
  file.write_bytes(original)
  for end in ('-wal', '-shm', '-journal'):
    (path / f'ledger.sqlite{end}').unlink(missing_ok=True)


def _flip(path, before, count, seed):
  """So many random bits, one at a time; {(part, outcome): number}."""
  rng, found = random.Random(seed), collections.Counter()
  sizes = {name: (path / name).stat().st_size for name in _files(path)}
  names = [name for name, size in sizes.items() if size]
  for name in rng.choices(names, [sizes[n] for n in names], k=count):
    content = bytearray((path / name).read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    try:
      outcome = _damage(path, before, name, bytes(content))
    except Exception as error:
      error.add_note(f'{name}: bit {bit} of byte {at}')
      raise
    found[name.split('/')[0], outcome] += 1
  return found


def test_one_flipped_bit_is_refused_or_changes_nothing(path, before):
  found = _flip(path, before, 600, seed=0)
  print(dict(found))
  # Of the stages every bit counts; of SQLite's file some stand for nothing.
  assert set(found) == {
    ('stages', 'refused'),
    ('ledger.sqlite', 'refused'),
    ('ledger.sqlite', 'the same'),
    ('system.json', 'refused'),
    ('canary.json', 'refused'),
  }


@pytest.mark.slow
def test_many_flipped_bits(path, before):
  found = _flip(path, before, 100_000, seed=1)
  print(dict(found))
  assert {part for part, outcome in found if outcome == 'the same'} == {
    'ledger.sqlite'
  }
