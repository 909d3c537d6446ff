"""A tiny system, what is asked of it, and what it must then be.

The oracle knows who is alive by sets, and what a system of these survivors
keeps by one that nothing happened to.
"""

import shutil

import numpy as np

from tests.exact import faults
from unlearn_jax import trees
from unlearn_jax.exact import books, erasure
from unlearn_jax.exact import system as system_lib

EARLY, LATE = 20, 24  # rows when the system is made, and later
X = np.ones((3, 4), np.float32)
# (what, arguments); names tell requests apart.
FIRST = ('delete', {'ids': [3], 'name': 'first'})
OWNER = ('delete', {'owners': [4], 'name': 'owner'})
MANY = ('many', {'a': [5, 6], 'b': [7], 'none': [5]})
ADD = ('add', {'ids': [3, 21, 22]})
REPAIR, ERASE, CREATE = ('repair', {}), ('erase', {}), ('create', {})
LIFE = [FIRST, REPAIR, OWNER, MANY, ERASE, REPAIR, ADD, REPAIR]


class Base:
  """A trained system to make copies of, and what it should become."""

  def __init__(self, folder):
    self._folder, self.data = folder, folder / 'data.npz'
    faults.write_data(self.data, EARLY)
    self.config = faults.config(self.data)
    system = system_lib.System.create(str(folder / 'system'), self.config)
    system.train()
    system.close()
    faults.write_data(self.data, LATE)
    self._known = {}

  def copy(self, into):
    faults.copy(self._folder / 'system', into)
    return into

  def expected(self, alive):
    """Digests of a system of these survivors that nothing happened to."""
    if alive not in self._known:
      folder = self.copy(self._folder / 'expected')
      system = system_lib.System.open(str(folder))
      system.delete(ids=sorted(living(system) - alive))
      system.add(sorted(alive - living(system)))
      system.repair()
      self._known[alive] = system.digests()
      system.close()
      shutil.rmtree(folder)
    return self._known[alive]


def living(system):
  return frozenset(system._records.ids[system._records.alive].tolist())


def carry_out(system, op):
  """What the system answers, without what depends on the moment."""
  what, given = op
  if what == 'delete':
    receipts = [system.delete(**given)]
  elif what == 'many':
    asked = [books.Asked(ids, name=name) for name, ids in given.items()]
    receipts = system.delete_many(asked)
  elif what == 'add':
    return system.add(**given, allow_reinsert=True)
  else:
    return getattr(system, what)()
  return [
    (r.request, r.deleted, r.already, r.gone, r.request and r.depths)
    for r in receipts
  ]


def truth(ops, alive=frozenset(range(1, EARLY + 1))):
  """Who is alive before the operations, and after each."""
  found = [frozenset() if ops and ops[0] == CREATE else alive]
  for what, given in ops:
    alive = found[-1]
    if what == 'create':
      alive = frozenset(range(1, LATE + 1))
    elif what == 'add':
      alive |= set(given['ids'])
    elif what == 'many':
      alive -= {i for ids in given.values() for i in ids}
    elif what == 'delete':
      theirs = {
        i for o in given.get('owners', ()) for i in (2 * o + 1, 2 * o + 2)
      }
      alive -= {*given.get('ids', ()), *theirs}
    found.append(alive)
  return found


def live(base, folder, ops, around=lambda call, act: act(), returned=None):
  """Carries out operations on a folder; what each answered."""
  answers = []
  with faults.using(faults.Disk(around)) as disk:
    if ops[0] == CREATE:
      system = system_lib.System.create(str(folder), base.config)
      answers.append(None)
    else:
      system = system_lib.System.open(str(folder))
    for op in ops[len(answers) :]:
      if returned:
        returned(len(answers))
      answers.append(carry_out(system, op))
    if returned:
      returned(len(answers))
    system.close()
  return answers, disk.calls


def check_claims(system):
  """What the ledger says of requests is so."""
  requests = [r for r in system.status()['requests'] if r['kind'] == 'delete']
  for r in requests:
    reached = [r[state] is not None for state in books.ledger_lib.STATES]
    assert reached == sorted(reached, reverse=True), r
  erased = {r['seq'] for r in requests if r['erased']}
  gone = {
    name
    for _, row, _, _ in system._books.ledger.log()
    for _, name in row.get('gone', ())
    if all(seq in erased for seq, *_ in row['requests'])
  } - {*system.names().values()}
  for entry in system._store._listed():
    assert not any(name in entry for name in gone), f'{entry} is erased'
  if all(r['repaired'] for r in system.status()['requests']):
    assert system.status()['missing'] == 0


def check_whole(base, system):
  """The system is, bit for bit, one that nothing happened to."""
  names = system.names()
  assert system.digests() == base.expected(living(system))
  assert system._store.names() == set(names.values())
  for name in names.values():
    assert (
      trees.digest(system._store.load(name))
      == (system._store.facts(name)['digest'])
    )
  assert not erasure.residue(
    system.workdir, system._books, system._store, names.values()
  )
  assert not [p for p in system.workdir.rglob('*.new')]
  check_claims(system)
