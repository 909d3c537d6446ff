"""What kills and failing disks leave: all of a request or none, nothing torn.

Every state that a kill can leave is opened by a new system, and must become,
bit for bit, one that was never killed. `faults.py` says where states are from.
"""

import errno
import shutil

import numpy as np
import pytest

from tests.exact import faults
from unlearn_jax import errors, trees
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


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return Base(tmp_path_factory.mktemp('base'))


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


@pytest.fixture(autouse=True)
def no_syncs():
  """A kill takes away nothing that was written, synced or not."""
  with faults.using(faults.Disk(faults.hasty)):
    yield


def check_kill(base, folder, ops, answers, done, rng):
  """A new system finds all that was acknowledged, and ends as it must."""
  alive = truth(ops)
  try:
    system = system_lib.System.open(
      str(folder), take_over=bool(rng.integers(2))
    )
  except errors.WorkdirError as error:
    assert ops[done] == CREATE and 'holds no system' in str(error)
    system = system_lib.System.create(str(folder), base.config)
  assert living(system) in alive[done : done + 2]
  check_claims(system)
  assert {*system._server.view.names} - {None} <= {*system.names().values()}
  if rng.integers(2):
    system.predict(X) if any(system._server.view.names) else None
  for op, answer in zip(ops[:done], answers, strict=False):
    if op[0] in ('delete', 'many'):  # asked again: nothing new
      assert carry_out(system, op) == answer
  if done < len(ops) and ops[done] != CREATE and rng.integers(2):
    carry_out(system, ops[done])
    assert living(system) == alive[done + 1]
  assert living(system) in alive[done : done + 2]
  system.repair()
  check_whole(base, system)
  system.close()


def kills_of(base, folder, ops):
  """Every state that a kill during the operations can leave."""
  kills = faults.Kills(folder / 'life', folder / 'left')
  if ops[0] != CREATE:
    base.copy(folder / 'life')

  def returned(done):
    kills.done = done
    kills.copy('between two operations', True)

  answers, _ = live(base, folder / 'life', ops, kills.around, returned)
  return kills, answers


def deeper(base, left, folder, rng, depth):
  """A state that a kill leaves of the recovery from a state."""
  for level in range(depth):
    kills = faults.Kills(left, folder / f'level {level}')
    with faults.using(faults.Disk(kills.around)):
      try:
        system = system_lib.System.open(str(left), take_over=True)
      except errors.WorkdirError:
        system = system_lib.System.create(str(left), base.config)
      system.repair()
      system.close()
    left = kills.left[rng.integers(len(kills.left))][0]
  return left


def check_some(base, folder, ops, chosen, rng, depth=0):
  """(calls, states) of a life; `chosen` of its states are recovered."""
  kills, answers = kills_of(base, folder, ops)
  for index in chosen(len(kills.left)):
    left, done, when = kills.left[index]
    try:
      state = deeper(base, left, folder / f'of {index}', rng, depth)
      check_kill(base, state, ops, answers, done, rng)
    except BaseException as error:
      error.add_note(f'killed {when}')
      raise
  return kills.calls, len(kills.left)


# Of calls and of states there are more than an ordinary run has time for.
def some(rng, count):
  return lambda n: sorted(rng.choice(n, min(n, count), replace=False))


def test_a_kill_leaves_what_a_new_system_finishes(base, tmp_path):
  rng = np.random.default_rng(0)
  check_some(base, tmp_path, LIFE, some(rng, 40), rng)


def test_a_kill_of_a_creation_leaves_none_or_all_of_it(base, tmp_path):
  rng = np.random.default_rng(1)
  check_some(base, tmp_path, [CREATE, FIRST], some(rng, 10), rng)


def test_a_recovery_may_be_killed_too(base, tmp_path):
  rng = np.random.default_rng(2)
  for depth in (1, 2):
    folder = tmp_path / f'{depth}'
    check_some(base, folder, LIFE[:6], some(rng, 5), rng, depth)


def check_error(base, folder, op, before, around, failure, rng):
  """A disk that fails at one call: a typed error, and no harm done.

  True when the operation told of it.
  """
  base.copy(folder) if op != CREATE else folder.parent.mkdir(exist_ok=True)
  if before:
    live(base, folder, before)
  *_, alive, then = truth([*before, op])
  told, system = None, None
  with faults.using(faults.Disk(around(folder))):
    try:
      if op[0] not in ('create', 'open'):
        with faults.using(faults.Disk(faults.hasty)):
          system = system_lib.System.open(str(folder))
      if op == CREATE:
        system = system_lib.System.create(str(folder), base.config)
      elif op[0] == 'open':
        system = system_lib.System.open(str(folder), **op[1])
      else:
        carry_out(system, op)
    except failure as error:
      told = error
    if isinstance(told, errors.UnlearnError):
      assert str(folder) in str(told)
    if system:  # It answers as the truth is, or not at all, on this disk too.
      try:
        system.predict(X)
      except errors.UnlearnError:
        pass
  if op == CREATE:
    if told is None or (folder / 'system.json').exists():
      other = system_lib.System.open(str(folder))
    else:
      other = system_lib.System.create(str(folder), base.config)
    system = system or other
  else:
    other = system_lib.System.open(str(folder))
  assert living(other) in (alive, then) or op == CREATE
  if system:
    assert {*system._server.view.names} - {None} <= {*other.names().values()}
  if system is None or rng.integers(2):
    system, other = other, system or other
  if op[0] not in ('create', 'open'):
    carry_out(system, op)  # The same request, by the same name.
    assert living(system) == then
  requests = system.status()['requests']
  asked = [op for op in [*before, op] if op[0] in ('delete', 'add')]
  assert len(requests) == 1 + len(asked) + 2 * ([*before, op].count(MANY))
  system.repair()
  check_whole(base, system)
  system.close()
  other.close()
  shutil.rmtree(folder)
  return told is not None


# What fails, after which others.
ERRORS = {
  'delete': (FIRST, []),
  'repair': (REPAIR, [FIRST]),
  'erase': (ERASE, [FIRST]),
  'many': (MANY, [FIRST, REPAIR]),
  'add': (ADD, [FIRST]),
  'create': (CREATE, []),
  'open': (('open', {'take_over': True}), [FIRST]),
}


def fail_at_calls(base, folder, kind, chosen, rng, codes=faults.CODES):
  """Numbers of calls that could fail, and of faults that were told."""
  op, before = ERRORS[kind]
  calls = []

  def counted(folder):
    def around(call, act):
      calls.append(call)
      return act()

    return around

  check_error(base, folder / 'counted', op, before, counted, (), rng)
  # Without those of a prediction and of closing: there are none.
  told = 0
  for number in chosen(len(calls)):
    for forever in (False, True):
      code = codes[rng.integers(len(codes))]
      late = bool(rng.integers(2))
      failing = faults.failing(number + 1, code, forever, late=late)
      try:
        told += check_error(
          base,
          folder / f'{kind} {number} {forever}',
          op,
          before,
          lambda folder, failing=failing: failing,
          errors.UnlearnError,
          rng,
        )
      except BaseException as error:
        error.add_note(
          f'{kind}: {errno.errorcode[code]} at call {number + 1}, '
          f'{calls[number].what} {calls[number].path}, {forever=}, {late=}'
        )
        raise
  return len(calls), told


@pytest.mark.parametrize('kind', ERRORS)
def test_a_disk_that_fails_is_a_typed_error_and_no_harm(base, tmp_path, kind):
  rng = np.random.default_rng(list(ERRORS).index(kind))
  count = 6 if kind == 'repair' else 3
  calls, told = fail_at_calls(base, tmp_path, kind, some(rng, count), rng)
  assert calls and told
