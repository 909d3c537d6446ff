"""Several systems on one directory, in every order: as if there were one.

A seeded scheduler lets two or three `System` objects act in turn, also in the
middle of each other's repairs, and holds what they say against plain sets.
What a model was trained on is known from the rows that its fits were given,
not from names. A failing case is run again by its seed.

The SIMULATOR half has a disk that forgets nothing: no syncs, and arrays in files
of NumPy's instead of Orbax's. Everything else in it is real, training included.
"""

import collections
import contextlib
import json
import os
import shutil

import numpy as np
import pytest

from tests import sizes
from tests.exact import layouts, tiny
from unlearn_jax import checkpoints, errors, files, registry, trees
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import program, serving
from unlearn_jax.exact import store as store_lib
from unlearn_jax.exact import system as system_lib

IDS = 24
FAST, REAL = 100, 4
SIMULATED = sizes.share(10_000)
X = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
# Who is in the parameters of this digest, whatever they are called.
LINEAGE: dict[str, frozenset] = {}
READS = ('predict', 'status')
WRITES = ('delete', 'delete_named', 'delete_many', 'add')
ALONE = ('repair', 'repair', 'killed_repair', 'erase')


class Killed(BaseException):
  """The end of a simulated process."""


class World:
  """The systems, and what should be true of all of them."""

  def __init__(self, rng, folder):
    self._rng, self._where = rng, str(folder / 'system')
    self.alive, self.last, self.named = set(range(IDS)), 1, {}
    self.done = collections.Counter()
    self._systems, self._fenced = [], []
    for _ in range(int(rng.integers(2, 4))):
      self._systems.append(self._open())
      self._fenced.append(False)

  def _open(self, **how):
    return system_lib.System.open(self._where, **how)

  def close(self):
    for system in self._systems:
      system.close()

  def step(self, busy=()):
    """One act of somebody who is not in the middle of one."""
    free = [i for i in range(len(self._systems)) if i not in busy]
    ops = (*READS, *WRITES, 'reopen', 'take_over', *([] if busy else ALONE))
    op = str(self._rng.choice(ops))
    who = int(self._rng.choice(free))
    self.done[op] += 1
    if op in WRITES:
      self._write(who, op)
    elif op in ALONE:
      self._alone(who, op)
    else:
      getattr(self, f'_{op}')(who)
    self._look(who)

  def _look(self, who):
    """Nobody answers with anybody who has left."""
    system = self._systems[who]
    system.status()
    for params in system._view.params:
      if params is not None:
        assert LINEAGE[trees.digest(params)] <= self.alive

  def _ids(self):
    count = int(self._rng.integers(1, 4))
    return self._rng.integers(0, IDS, count).tolist()

  def _write(self, who, op):
    """Changes what is true, or is shut out and changes nothing."""
    try:
      getattr(self, f'_{op}')(self._systems[who], not self._fenced[who])
    except errors.FencedOut:
      assert self._fenced[who]

  def _delete(self, system, may):
    ids = self._ids()
    self._left(system.delete(ids), ids, may)

  def _left(self, receipt, ids, may):
    gone = set(ids) & self.alive
    assert receipt.deleted == len(gone)
    assert receipt.already == len(set(ids)) - len(gone)
    if gone:
      assert may
      self.last += 1
      self.alive -= gone
    assert receipt.request == (self.last if gone else None)

  def _delete_named(self, system, may):
    name = f'name {self._rng.integers(3)}'
    ids = self.named[name][0] if name in self.named else self._ids()
    receipt = system.delete(ids, name=name)
    if name in self.named:  # whatever has happened since
      assert (receipt.request, receipt.deleted) == self.named[name][1]
      return
    self._left(receipt, ids, may)
    if receipt.request:
      self.named[name] = ids, (receipt.request, receipt.deleted)

  def _delete_many(self, system, may):
    asked = [self._ids() for _ in range(int(self._rng.integers(1, 4)))]
    receipts = system.delete_many([books_lib.Asked(ids) for ids in asked])
    for receipt, ids in zip(receipts, asked, strict=True):
      self._left(receipt, ids, may)

  def _add(self, system, may):
    ids = self._ids()
    new = set(ids) - self.alive
    assert system.add(ids, allow_reinsert=True) == len(new)
    if new:
      assert may
      self.last += 1
      self.alive |= new

  def _alone(self, who, op):
    system, told = self._systems[who], []
    kill = int(self._rng.integers(1, 4)) if op == 'killed_repair' else None

    def report(*unused):
      told.append(None)
      if len(told) == kill:
        raise Killed
      if self._rng.random() < 0.5:
        self.step(busy=(who,))

    try:
      if op == 'erase':
        system.erase()
      else:
        system.repair(report)
        assert not self._fenced[who]
    except errors.FencedOut:
      assert self._fenced[who]
    except Killed:
      system.close()
      self._systems[who], self._fenced[who] = self._open(), False

  def _predict(self, who):
    with contextlib.suppress(serving.AllShardsDead):
      assert np.isfinite(self._systems[who].predict(X)).all()

  def _status(self, who):
    status = self._systems[who].status()
    assert status['examples'] == len(self.alive)
    assert [r['seq'] for r in status['requests']] == [*range(1, self.last + 1)]

  def _reopen(self, who):
    self._systems[who].close()
    self._systems[who], self._fenced[who] = self._open(), False

  def _take_over(self, who):
    self._systems[who].close()
    self._systems[who] = self._open(take_over=True)
    self._fenced = [i != who for i in range(len(self._systems))]

  def end(self, data):
    """Somebody finishes, and all of them see what a fresh build is."""
    last = self._open()
    self._systems.append(last)
    last.repair()
    clean = data.subset(np.isin(data.ids, sorted(self.alive)).nonzero()[0])
    assert last.audit('E3', clean).passed
    for system in self._systems:
      status = system.status()
      assert status['missing'] == status['stale'] == 0
      assert status['served_depths'] == [2, 2]
      assert system.served() == last.served()
    last._books.ledger.check(last.head())


@pytest.fixture
def spied(monkeypatch):
  original = program.Program.fit

  def fit(self, stage, parent, rows, *place):
    state = original(self, stage, parent, rows, *place)
    seen = frozenset(rows.ids[np.isin(rows.slice, stage.prefix)].tolist())
    before = LINEAGE.get(trees.digest(parent.params), frozenset())
    LINEAGE.setdefault(trees.digest(state.params), seen | before)
    return state

  monkeypatch.setattr(program.Program, 'fit', fit)


@pytest.fixture
def simulated(monkeypatch):
  """A disk without power cuts, see above."""

  def save(folder, stored):
    folder.mkdir()
    np.savez(folder / 'arrays.npz', **stored)

  def read(path, described):
    with np.load(path / 'arrays' / 'arrays.npz', allow_pickle=False) as found:
      return {name: found[name] for name in described}

  def opened(self, *args, **kwargs):
    original(self, *args, **kwargs)
    self._db.execute('pragma synchronous=off')

  original = ledger_lib.Ledger.__init__
  monkeypatch.setattr(files.Disk, 'sync', lambda self, path: None)
  monkeypatch.setattr(checkpoints, '_save_arrays', save)
  monkeypatch.setattr(checkpoints, '_read_arrays', read)
  monkeypatch.setattr(ledger_lib.Ledger, '__init__', opened)


@pytest.mark.parametrize('reader', ['opens', 'follows'])
def test_a_stage_is_erased_while_it_is_read(reader, tmp_path, monkeypatch):
  with tiny.system(tmp_path, range(IDS)) as system:
    system.train()
    where, load, reads = str(tmp_path / 'system'), store_lib.Store.load, []
    if reader == 'follows':  # It has read nothing when the deletion comes.
      other = system_lib.System.open(where)
      other._shelf._kept.clear()
      other._shelf.server.view = other._view.only(())
      system.delete([0])

    def erased_first(store, name, like=None):
      reads.append(name)
      if len(reads) == 1:
        gone = iter(range(1, IDS))  # until it was of one of them
        while name in system.names().values():
          system.delete([next(gone)])
        system.repair()
        assert name not in store.names()
      return load(store, name, like)

    monkeypatch.setattr(store_lib.Store, 'load', erased_first)
    if reader == 'opens':
      other = system_lib.System.open(where)
    with contextlib.closing(other):
      np.testing.assert_array_equal(other.predict(X), system.predict(X))
    assert len(reads) > 1


def test_a_damaged_stage_is_not_read_for_ever(tmp_path):
  with tiny.system(tmp_path, range(IDS)) as system:
    system.train()
    for seal in (tmp_path / 'system' / 'stages').glob('*/checkpoint.json'):
      seal.write_text('{}')
  with pytest.raises(errors.CheckpointError, match='seal'):
    system_lib.System.open(str(tmp_path / 'system'))


def _run(folder, seeds, steps=8):
  """Interleavings from the same trained beginning; what was done in them."""
  done, data = collections.Counter(), None
  with tiny.system(folder, range(IDS)) as system:
    data = registry.make('data', **system.recipe.data)
    system.train()
  shutil.copytree(folder / 'system', folder / 'trained')
  for seed in seeds:
    shutil.rmtree(folder / 'system')
    shutil.copytree(folder / 'trained', folder / 'system')
    world = World(np.random.default_rng(seed), folder)
    try:
      for _ in range(steps):
        world.step()
      world.end(data)
    except BaseException as error:
      error.add_note(f'seed {seed}')
      raise
    finally:
      world.close()
    done += world.done
  return done


def test_simulated_interleavings_are_as_one(tmp_path, spied, simulated):
  done = _run(tmp_path, range(FAST))
  assert set(done) == {*READS, *WRITES, *ALONE, 'reopen', 'take_over'}


def test_interleavings_on_a_real_disk_are_as_one(tmp_path, spied):
  _run(tmp_path, range(10**6, 10**6 + REAL))


@pytest.mark.slow
@pytest.mark.parametrize('part', range(10))
def test_many_simulated_interleavings(part, tmp_path, spied, simulated):
  count = SIMULATED // 10
  _run(tmp_path, range(FAST + part * count, FAST + (part + 1) * count))


_LIFE = """
  folder, seed = arguments[0], int(arguments[1])
  from unlearn_jax import errors
  rng, s = np.random.default_rng(seed), systems().open(folder)
  mine = [i for i in range(24) if i % 3 == seed % 3]
  gone, predicted = [], 0
  for _ in range(12):
    op = rng.choice(['delete', 'delete', 'repair', 'predict', 'open', 'erase'])
    if op == 'delete' and len(mine) > 2:
      one = mine.pop(int(rng.integers(len(mine))))
      assert s.delete([one], name=f'leave {one}').deleted == 1
      gone.append(one)
    elif op == 'repair':
      s.repair()
    elif op == 'erase':
      s.erase()
    elif op == 'predict':
      try:
        predicted += len(s.predict(np.zeros((3, 2), np.float32)))
      except errors.CheckpointError:
        raise
      except errors.UnlearnError:
        pass  # nothing is left until somebody repairs
    elif op == 'open':
      s.close()
      s = systems().open(folder)
  s.close()
  say(gone=gone, predicted=predicted)
"""


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(0, 3 * sizes.share(10), 3))
def test_real_processes_are_as_one(seed, tmp_path):
  with tiny.system(tmp_path, range(IDS)) as system:
    system.train()
    data = registry.make('data', **system.recipe.data)
  where = str(tmp_path / 'system')
  children = [
    layouts.start(
      # As this process: what another machine makes is not compared.
      _LIFE,
      where,
      json.dumps(seed + i),
      nproc=os.environ['NPROC'],
    )
    for i in range(3)
  ]
  gone = [one for said in layouts.results(children) for one in said['gone']]
  with contextlib.closing(system_lib.System.open(where)) as system:
    records = system._records
    left = records.ids[records.alive].tolist()
    assert gone and sorted(left + gone) == list(range(IDS))
    system.repair()
    clean = data.subset(np.isin(data.ids, left).nonzero()[0])
    assert system.audit('E3', clean).passed
    for one in gone:
      assert system.delete([one], name=f'leave {one}').deleted == 1  # as then
