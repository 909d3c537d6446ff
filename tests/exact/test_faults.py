"""What kills and failing disks leave: all of a request or none, nothing torn.

Every state that a kill can leave is opened by a new system, and must become,
bit for bit, one that was never killed. `faults.py` says where states are from.
"""

import contextlib
import errno
import functools
import shutil

import numpy as np
import pytest

from tests import sizes
from tests.exact import faults, lives
from unlearn_jax import errors, files
from unlearn_jax.exact import chain
from unlearn_jax.exact import system as system_lib


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return lives.Base(tmp_path_factory.mktemp('base'))


@pytest.fixture(autouse=True)
def no_syncs():
  """A kill takes away nothing that was written, synced or not."""
  with faults.using(faults.Disk(faults.hasty)):
    yield


def check_kill(base, folder, ops, answers, done, rng):
  """A new system finds all that was acknowledged, and ends as it must."""
  alive = lives.truth(ops)
  try:
    system = system_lib.System.open(
      str(folder), take_over=bool(rng.integers(2))
    )
  except errors.WorkdirError as error:
    assert ops[done] == lives.CREATE and 'holds no system' in str(error)
    system = system_lib.System.create(str(folder), base.config)
  assert lives.living(system) in alive[done : done + 2]
  lives.check_claims(system)
  lacking = system._books.ledger.lacking('deactivated')
  assert all(request.kind == 'add' for request in lacking)
  assert {*system._view.names} - {None} <= {*system.names().values()}
  if rng.integers(2):
    system.predict(lives.X) if any(system._view.names) else None
  for op, answer in zip(ops[:done], answers, strict=False):
    if op[0] in ('delete', 'many'):  # asked again: nothing new
      assert lives.carry_out(system, op) == answer
  if done < len(ops) and ops[done] != lives.CREATE and rng.integers(2):
    lives.carry_out(system, ops[done])
    assert lives.living(system) == alive[done + 1]
  assert lives.living(system) in alive[done : done + 2]
  system.repair()
  lives.check_whole(base, system)
  system.close()


def kills_of(base, folder, ops):
  """Every state that a kill during the operations can leave."""
  kills = faults.Kills(folder / 'life', folder / 'left')
  if ops[0] != lives.CREATE:
    base.copy(folder / 'life')

  def returned(done):
    kills.done = done
    kills.copy('between two operations', True)

  answers, _ = lives.live(base, folder / 'life', ops, kills.around, returned)
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
  """Calls in a life; the states that are `chosen`, by when, are recovered."""
  kills, answers = kills_of(base, folder, ops)
  for index in chosen([when for _, _, when in kills.left]):
    left, done, when = kills.left[index]
    try:
      state = deeper(base, left, folder / f'of {index}', rng, depth)
      check_kill(base, state, ops, answers, done, rng)
    except BaseException as error:
      error.add_note(f'killed {when}')
      raise
  return kills.calls


# Of calls and of states there are more than an ordinary run has time for.
def some(rng, count):
  return lambda n: sorted(rng.choice(n, min(n, count), replace=False))


def telling(rng, count):
  """Half of them around commits, which are few and decide."""

  def chosen(whens):
    commits = [n for n, when in enumerate(whens) if 'commit' in when]
    others = sorted({*range(len(whens))} - {*commits})
    return [
      of[n]
      for of in (commits, others)
      for n in some(rng, (count + 1) // 2)(len(of))
    ]

  return chosen


def test_a_kill_leaves_what_a_new_system_finishes(base, tmp_path):
  rng = np.random.default_rng(0)
  check_some(base, tmp_path, lives.LIFE, telling(rng, 40), rng)


def test_a_kill_of_a_creation_leaves_none_or_all_of_it(base, tmp_path):
  """And of what comes first: a request, the record of the machine, a stage."""
  rng, ops = np.random.default_rng(1), [lives.CREATE, lives.FIRST, lives.REPAIR]
  check_some(base, tmp_path, ops, lambda whens: range(20), rng)


def test_a_recovery_may_be_killed_too(base, tmp_path):
  rng = np.random.default_rng(2)
  for depth in (1, 2):
    folder = tmp_path / f'{depth}'
    check_some(base, folder, lives.LIFE[:6], telling(rng, 5), rng, depth)


def check_error(base, folder, op, before, around, failure, rng):
  """A disk that fails at one call: a typed error, and no harm done.

  True when the operation told of it.
  """
  if lives.CREATE in (op, *before):
    folder.parent.mkdir(exist_ok=True)
  else:
    base.copy(folder)
  if before:
    lives.live(base, folder, before)
  *_, alive, then = lives.truth([*before, op])
  told, system = None, None
  with faults.using(faults.Disk(around(folder))):
    try:
      if op[0] not in ('create', 'open'):
        with faults.using(faults.Disk(faults.hasty)):
          system = system_lib.System.open(str(folder))
      if op == lives.CREATE:
        system = system_lib.System.create(str(folder), base.config)
      elif op[0] == 'open':
        system = system_lib.System.open(str(folder), **op[1])
      else:
        lives.carry_out(system, op)
    except failure as error:
      told = error
    if isinstance(told, errors.UnlearnError):
      assert str(folder) in str(told)
    if system:  # Answers are true, or none, on this disk too.
      with contextlib.suppress(errors.UnlearnError):
        system.predict(lives.X)
  if op == lives.CREATE:
    if told is None or (folder / 'system.json').exists():
      other = system_lib.System.open(str(folder))
    else:
      other = system_lib.System.create(str(folder), base.config)
    system = system or other
  else:
    other = system_lib.System.open(str(folder))
  assert lives.living(other) in (alive, then) or op == lives.CREATE
  if system:
    assert {*system._view.names} - {None} <= {*other.names().values()}
  if system is None or rng.integers(2):
    system, other = other, system or other
  if op[0] not in ('create', 'open'):
    lives.carry_out(system, op)  # The same request, by the same name.
    assert lives.living(system) == then
  requests = system.status()['requests']
  asked = [op for op in [*before, op] if op[0] in ('delete', 'add')]
  assert len(requests) == 1 + len(asked) + 2 * ([*before, op].count(lives.MANY))
  system.repair()
  lives.check_whole(base, system)
  system.close()
  other.close()
  shutil.rmtree(folder)
  return told is not None


# What fails, after which others.
ERRORS = {
  'delete': (lives.FIRST, []),
  'repair': (lives.REPAIR, [lives.FIRST]),
  'erase': (lives.ERASE, [lives.FIRST]),
  'many': (lives.MANY, [lives.FIRST, lives.REPAIR]),
  'add': (lives.ADD, [lives.FIRST]),
  'create': (lives.CREATE, []),
  'train': (('train', {}), [lives.CREATE]),
  'open': (('open', {'take_over': True}), [lives.FIRST]),
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
          (errors.UnlearnError, *set(codes) & {MemoryError, KeyboardInterrupt}),
          rng,
        )
      except BaseException as error:
        error.add_note(
          f'{kind}: {errno.errorcode.get(code, code)} at call {number + 1}, '
          f'{calls[number].what} {calls[number].path}, {forever=}, {late=}'
        )
        raise
  return len(calls), told


@pytest.mark.parametrize('kind', ERRORS)
def test_a_disk_that_fails_is_a_typed_error_and_no_harm(base, tmp_path, kind):
  rng = np.random.default_rng(list(ERRORS).index(kind))
  chosen = some(rng, 6 if kind == 'repair' else 3)
  if kind == 'train':  # What no repair does: the record of the machine.
    chosen = lambda n: range(1, 4)  # noqa: E731
  calls, told = fail_at_calls(base, tmp_path, kind, chosen, rng)
  assert calls and told


@pytest.mark.slow
@pytest.mark.parametrize('kind', ERRORS)
def test_every_call_may_fail_in_every_way(base, tmp_path, kind):
  rng = np.random.default_rng(0)

  def part(calls):
    return some(rng, sizes.share(calls))(calls)

  for code in (*faults.CODES, MemoryError, KeyboardInterrupt):
    folder = tmp_path / str(code)
    calls, told = fail_at_calls(base, folder, kind, part, rng, [code])
    print(f'{kind}: {told} of {2 * calls} errors {code} were told')
    assert told


@pytest.mark.parametrize(
  'ops', [[lives.CREATE], lives.LIFE], ids=['create', 'life']
)
def test_what_is_published_was_synced_and_so_is_its_name(base, tmp_path, ops):
  """In order: the files of a folder, its new name, and then the answer."""
  folder, synced, renames = tmp_path / 'system', set(), []
  base.copy(folder) if ops != [lives.CREATE] else None

  def around(call, act):
    if call.what == 'rename':
      below = list(call.path.rglob('*')) if call.path.is_dir() else []
      # What goes needs no sync: nobody reads it where it goes to.
      if not call.to.name.endswith('.gone-checkpoint'):
        renames.append(call.path)
        assert not {call.path, *below} - synced
    elif call.what == 'sync':
      synced.add(call.path)
    elif call.path:
      synced.discard(call.path)
    return act()

  seen = []

  def returned(done):
    assert not faults.unsynced(files.disk.calls, folder.parent)
    seen.append(done)

  lives.live(base, folder, ops, around, returned)
  assert len(renames) > (0 if ops == [lives.CREATE] else 6)
  assert seen[-1] == len(ops)


def test_a_stage_that_cannot_be_read_is_not_replaced_by_an_old_one(
  base, tmp_path, monkeypatch
):
  """Accepted, and then nothing can take the place of what must not answer."""
  system = system_lib.System.open(str(base.copy(tmp_path / 'system')))
  records = system._records
  last = (
    records.alive
    & (records.shard == 0)
    & (records.slice == system.sequences[0][-1])
  )
  victim = records.ids[last][:1].tolist()
  before = system._view.names

  def refuse(*unused, **also):
    raise errors.CheckpointError('no such bytes')

  system._shelf._kept.clear()
  with monkeypatch.context() as patch:
    patch.setattr(system._store, 'load', refuse)
    with pytest.raises(errors.CheckpointError, match='no such bytes'):
      system.delete(ids=victim, name='once')
    with pytest.raises(errors.CheckpointError, match='no such bytes'):
      system.predict(lives.X)
    assert system._view.names == (None, before[1])
  assert system.predict(lives.X).shape == (3, 2)
  assert system.delete(ids=victim, name='once').depths == (1, 2)
  assert system.status()['served_depths'] == [1, 2]
  system.repair()
  lives.check_whole(base, system)
  system.close()


# At which call of a repair another one takes over: as stages are saved, and as
# old ones are removed. In a commit SQLite itself shuts out everyone else.
TAKEN_OVER_AT = [
  ('mkdir', 1),  # of a stage that the other one makes too
  ('mkdir', 2),  # of one that nothing derives any more
  ('sync stages', 2),  # when one is there that the other one then counts on
  ('sync stages', 3),
  ('arrays', 2),
  ('write', 2),
  ('rename', 1),
  ('rename', 3),
  ('unlink', 2),
  ('rmdir', 1),
]


@pytest.mark.parametrize('what, time', TAKEN_OVER_AT)
def test_who_was_taken_over_from_changes_nothing(base, tmp_path, what, time):
  folder = base.copy(tmp_path / 'system')
  system = system_lib.System.open(str(folder))
  lives.carry_out(system, lives.FIRST)
  seen, after = [], []

  def take_over():
    other = system_lib.System.open(str(folder), take_over=True)
    lives.carry_out(other, lives.OWNER)
    other.repair()
    lives.check_whole(base, other)
    other.close()
    return sorted(folder.rglob('stages/*'))

  def around(call, act):
    seen.append(f'sync {call.path.name}' if call.what == 'sync' else call.what)
    if seen[-1] == what and seen.count(what) == time:
      with faults.using(faults.Disk(faults.hasty)):
        after.extend(take_over())
    return faults.hasty(call, act)

  with faults.using(faults.Disk(around)), pytest.raises(errors.FencedOut):
    system.repair()
  head = system.head()
  for op in (lives.MANY, lives.ADD, lives.REPAIR, lives.ERASE):
    with pytest.raises(errors.FencedOut):
      lives.carry_out(system, op)
  lives.carry_out(system, lives.FIRST)  # answered as it was before
  assert system.head() == head
  assert sorted(folder.rglob('stages/*')) == after
  system.close()
  other = system_lib.System.open(str(folder))
  lives.check_whole(base, other)
  other.close()


def random_life(rng):
  """Requests of every kind, and repairs after some of them."""
  ops = []
  for number in range(3):
    alive = lives.truth(ops)[-1]
    chosen = rng.choice(sorted(alive), 4, replace=False).tolist()
    kind = rng.choice(['delete', 'owner', 'many', 'add'])
    if kind == 'add':
      away = sorted(set(range(1, lives.LATE + 1)) - alive)
      ids = rng.choice(away, 2, replace=False).tolist()
      ops.append(('add', {'ids': ids}))
    elif kind == 'many':
      names = {f'{number} a': chosen[:2], f'{number} b': chosen[1:]}
      ops.append(('many', names))
    else:
      owners = {(i - 1) // 2 for i in chosen[:1]}
      asked = {'ids': chosen} if kind == 'delete' else {'owners': [*owners]}
      ops.append(('delete', {**asked, 'name': f'{number}'}))
    if rng.random() < 0.7:
      ops.append(lives.REPAIR if rng.random() < 0.8 else lives.ERASE)
  return [*ops, lives.REPAIR]


@pytest.mark.slow
def test_a_thousand_kills(base, tmp_path):
  """States of random lives; in every third, of killed recoveries."""
  rng, calls, recovered, lived = np.random.default_rng(4), 0, 0, 0
  while recovered < sizes.share(1000):
    ops, folder = random_life(rng), tmp_path / f'{lived}'
    counted, depth = [], 0 if lived % 3 else int(rng.integers(1, 3))

    def chosen(whens, counted=counted, depth=depth):
      counted += some(rng, 30 if depth else len(whens))(len(whens))
      return counted

    calls += check_some(base, folder, ops, chosen, rng, depth)
    recovered, lived = recovered + len(counted), lived + 1
    shutil.rmtree(folder)
    print(f'{recovered} kills recovered, of {calls} calls in {lived} lives')


def test_a_ledger_that_others_write_meanwhile_is_no_damaged_one(
  base, tmp_path, monkeypatch
):
  folder = base.copy(tmp_path / 'system')
  writer = system_lib.System.open(str(folder))
  real, asked = chain.broken, [lives.FIRST]

  def slow(rows):
    if asked:  # The log was read, and what stands beside it was not.
      lives.carry_out(writer, asked.pop())
    return real(rows)

  monkeypatch.setattr(chain, 'broken', slow)
  reader = system_lib.System.open(str(folder))
  assert lives.living(reader) == lives.living(writer)
  assert lives.living(reader) == lives.truth([lives.FIRST])[-1]
  reader.close()
  writer.close()


def test_a_ledger_that_cannot_be_read_any_more_is_named(base, tmp_path):
  """By whatever asks it first: nothing is answered on old knowledge."""
  folder = base.copy(tmp_path / 'system')
  system = system_lib.System.open(str(folder))
  system._books.ledger.held()._db.close()
  for call in (
    *(functools.partial(lives.carry_out, system, op) for op in lives.LIFE),
    functools.partial(system.predict, lives.X),
    functools.partial(system.audit, 'E3'),
    functools.partial(system.certificate, 1),
    system.status,
    system.head,
  ):
    with pytest.raises(errors.LedgerError, match=str(folder)):
      call()
  system.close()
