"""What is stored is what was stored, or it is refused by name.

One bit, a whole file, a stage under another name, an older copy: whoever reads
a store in which something was changed gets a typed error that names the file,
or exactly the answers from before.
"""

import collections
import contextlib
import functools
import os
import pathlib
import random
import shutil
import signal

import numpy as np
import pytest

from tests import sizes
from unlearn_jax import checkpoints, errors, trees
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
  found = _flip(path, before, sizes.share(100_000), seed=1)
  print(dict(found))
  assert {part for part, outcome in found if outcome == 'the same'} == {
    'ledger.sqlite'
  }


def _truncated(file, _):
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _emptied(file, _):
  file.write_bytes(b'')


def _extended(file, _):
  file.write_bytes(file.read_bytes() + b'\0')


def _zeroed(file, _):
  file.write_bytes(bytes(file.stat().st_size))


def _deleted(file, _):
  file.unlink()


def _swapped(file, other):
  content = file.read_bytes()
  file.write_bytes(other.read_bytes())
  other.write_bytes(content)


def _duplicated(file, other):
  file.write_bytes(other.read_bytes())


def _directory(file, _):
  file.unlink()
  file.mkdir()


def _linked(file, _):
  elsewhere = file.with_name(f'{file.name} elsewhere')
  file.rename(elsewhere)
  file.symlink_to(elsewhere)


def _pipe(file, _):
  file.unlink()
  os.mkfifo(file)


DAMAGES = (
  _truncated, _emptied, _extended, _zeroed, _deleted, _swapped, _duplicated,
  _directory, _linked, _pipe,
)  # fmt: skip
# SQLite reads as many pages as its header says; and that no machine is known
# yet is what a canary that is not there means.
HARMLESS = {('ledger.sqlite', _extended): 'the same'}
HARMLESS['canary.json', _deleted] = 'nothing is known'


class Hangs(BaseException):
  """A read that does not end; no error that anybody catches."""


@contextlib.contextmanager
def _in_time(seconds=5):
  """A read that hangs is an error."""

  def late(*unused):
    raise Hangs

  before = signal.signal(signal.SIGALRM, late)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _other(path, name):
  """A file of the same kind: of another stage, or another beside the stages."""
  parts = pathlib.Path(name).parts
  if len(parts) == 1:
    return path / {'canary.json': 'system.json'}.get(name, 'canary.json')
  stages = sorted(os.listdir(path / 'stages'))
  other = stages[stages.index(parts[1]) - 1]
  here = [n for n in _files(path) if n.startswith(f'stages/{parts[1]}/')]
  there = [n for n in _files(path) if n.startswith(f'stages/{other}/')]
  twin = '/'.join(('stages', other, *parts[2:]))
  # Data are in files of random names, not of the same number in each stage.
  some = there[min(here.index(name), len(there) - 1)]
  return path / (twin if twin in there else some)


def _contents(path, but):
  return {
    name: (path / name).read_bytes() for name in _files(path) if name not in but
  }


@pytest.mark.parametrize('damage', DAMAGES, ids=lambda d: d.__name__[1:])
def test_a_damaged_file_is_refused_and_no_other_is_harmed(
  path, before, damage, tmp_path
):
  copy = shutil.copytree(path, tmp_path / 'copy')
  stage = sorted(os.listdir(path / 'stages'))[0]
  for name in before:
    if name.startswith('stages') and stage not in name:
      continue
    file, other = copy / name, _other(copy, name)
    if damage in (_swapped, _duplicated) and _same(file, other):
      continue
    damage(file, other)
    both = {name, other.relative_to(copy).as_posix()}
    left = _contents(copy, but=both)
    try:
      with _in_time():
        found = _read(copy, name)
      outcome = 'the same' if found == before[name] else 'another'
      if name == 'canary.json' and found == []:
        outcome = 'nothing is known'
    except errors.UnlearnError as error:
      outcome = 'refused'
      parts = pathlib.Path(name).parts
      assert parts[parts[0] == 'stages'] in str(error), name
    assert outcome == HARMLESS.get((name, damage), 'refused'), name
    assert _contents(copy, but=both) == left
    for each in both:
      _put_back(path / each, copy / each)


def _same(file, other):
  return file.read_bytes() == other.read_bytes()


def _put_back(original, file):
  if file.is_dir():
    file.rmdir()
  else:
    file.unlink(missing_ok=True)
  file.with_name(f'{file.name} elsewhere').unlink(missing_ok=True)
  shutil.copyfile(original, file)


def test_a_stage_under_the_name_of_another_is_refused(path, tmp_path):
  copy = shutil.copytree(path, tmp_path / 'copy')
  one, other = sorted(os.listdir(copy / 'stages'))[:2]
  shutil.rmtree(copy / 'stages' / one)
  shutil.copytree(copy / 'stages' / other, copy / 'stages' / one)
  kept = store.Store(copy / 'stages')
  for read in (kept.load, kept.facts, kept.proof):
    with pytest.raises(errors.CheckpointError, match=f'{one} holds.*{other}'):
      read(one)


def test_a_link_to_a_stage_is_refused_and_removing_it_harms_nothing(
  path, before, tmp_path
):
  copy = shutil.copytree(path, tmp_path / 'copy')
  name = sorted(os.listdir(copy / 'stages'))[0]
  outside = tmp_path / 'outside'
  (copy / 'stages' / name).rename(outside)
  (copy / 'stages' / name).symlink_to(outside)
  kept, left = store.Store(copy / 'stages'), _contents(outside, but=())
  for read in (kept.load, kept.facts, kept.proof):
    with pytest.raises(errors.CheckpointError, match=f'{name} is a link'):
      read(name)
  kept.remove(name)
  assert not os.path.lexists(copy / 'stages' / name)
  assert left and _contents(outside, but=()) == left


def _served_and_not(path):
  """Folders of a stage that serves, and of one that does not."""
  system = system_lib.System.open(str(path))
  with contextlib.closing(system):
    names, have = system.names(), system._store.names()
    served = {names[s] for s in system._view.stages if s}
    others = {names[s] for s in system.wanted} & have - served
    return path / 'stages' / min(served), path / 'stages' / min(others)


def _spoil(folder):
  files = [file for file in folder.rglob('*') if file.is_file()]
  largest = max(files, key=lambda file: file.stat().st_size)
  content = bytearray(largest.read_bytes())
  content[len(content) // 2] ^= 1
  largest.write_bytes(content)


def test_what_is_not_damaged_serves_on(path, answers, tmp_path):
  copy = shutil.copytree(path, tmp_path / 'copy')
  served, other = _served_and_not(copy)
  _spoil(other)
  system = system_lib.System.open(str(copy))
  assert system.served() == answers[1]
  assert system.predict(X).tolist() == answers[5]
  with pytest.raises(errors.CheckpointError, match=other.name):
    system.answers([s for s, n in system.names().items() if n == other.name], X)
  system.close()
  _spoil(served)
  with pytest.raises(errors.CheckpointError, match=served.name):
    system_lib.System.open(str(copy))


def test_a_rollback_shows_against_a_head_that_was_kept(tmp_path):
  """Without one, an older copy of everything is a system like any other."""
  path = _live(tmp_path)
  system = system_lib.System.open(str(path))
  system.repair()
  first, before = system.head(), system.status()
  system.close()
  older = shutil.copytree(path, tmp_path / 'older')
  system = system_lib.System.open(str(path), head=first)
  system.delete(ids=[4])
  system.repair()
  last = system.head()
  system.close()
  newer = shutil.copytree(path, tmp_path / 'newer')

  with pytest.raises(errors.LedgerError, match=f'{last}.*rolled back'):
    system_lib.System.open(str(older), head=last)
  system = system_lib.System.open(str(older), head=first)
  assert system.status() == before
  system.close()

  # The ledger alone: its stages are gone, and others are there.
  shutil.copy(older / 'ledger.sqlite', newer / 'ledger.sqlite')
  with pytest.raises(errors.LedgerError, match=f'{last}.*rolled back'):
    system_lib.System.open(str(newer), head=last)
  system = system_lib.System.open(str(newer), head=first)
  status = system.status()
  assert all(request['repaired'] for request in status['requests'])
  assert status['missing'] and status['stale'] == status['missing']
  assert system.audit('E3').residue
  system.close()

  # Stages alone: what they saw is no name any more, so they serve nobody.
  shutil.copytree(older / 'stages', path / 'stages', dirs_exist_ok=True)
  system = system_lib.System.open(str(path), head=last)
  status = system.status()
  assert status['stale'] and not status['missing']
  assert len(system.audit('E3').residue) == status['stale']
  system.erase()
  assert not system.status()['stale']
  system.close()


def _with(tree, change):
  leaves = {p: np.array(leaf) for p, leaf in trees.flatten(tree).items()}
  change(leaves)
  return trees.unflatten(leaves)


def _spoils(value):
  def change(leaves):
    leaves['params/head/kernel'].flat[1] = value

  return change


def _cast(path, dtype):
  return lambda leaves: leaves.update({path: leaves[path].astype(dtype)})


FOREIGN = {
  'nan': _spoils(np.nan),
  'inf': _spoils(-np.inf),
  'float16': _cast('params/head/kernel', np.float16),
  'int': _cast('params/head/bias', np.int32),
  'step': _cast('step', np.float32),
  'moment': _cast('opt_state/1', np.float16),
  'shape': lambda leaves: leaves.update(
    {'params/head/kernel': leaves['params/head/kernel'].T}
  ),
  'extra': lambda leaves: leaves.update({'params/more': np.zeros(2)}),
  'beside': lambda leaves: leaves.update({'more': np.zeros(2)}),
  'no bias': lambda leaves: leaves.pop('params/head/bias'),
  'no moment': lambda leaves: leaves.pop('opt_state/1'),
  'no step': lambda leaves: leaves.pop('step'),
}


@pytest.fixture(scope='module')
def carrying(tmp_path_factory):
  return _live(tmp_path_factory.mktemp('carrying'), carry=True)


@pytest.mark.parametrize('kind', FOREIGN)
def test_a_sealed_tree_that_no_training_leaves_is_refused(
  carrying, kind, tmp_path
):
  copy = shutil.copytree(carrying, tmp_path / 'copy')
  served, _ = _served_and_not(copy)
  tree, meta = checkpoints.load(served)
  checkpoints.save(served, _with(tree, FOREIGN[kind]), meta, overwrite=True)
  with pytest.raises(errors.CheckpointError, match='stored as stage 0:'):
    system_lib.System.open(str(copy))


def test_the_byte_order_of_who_saves_does_not_matter(path, answers, tmp_path):
  copy = shutil.copytree(path, tmp_path / 'copy')
  served, _ = _served_and_not(copy)
  tree, meta = checkpoints.load(served)
  swapped = _with(tree, lambda leaves: leaves.update(
    {p: leaf.astype(leaf.dtype.newbyteorder()) for p, leaf in leaves.items()}
  ))  # fmt: skip
  checkpoints.save(served, swapped, meta, overwrite=True)
  assert _answers(copy) == answers
