"""The ledger: what it was told once it says again, and no other thing."""

import contextlib
import itertools
import json
import shutil
import sqlite3
import types

import numpy as np
import pytest

from tests.exact import tiny
from unlearn_jax import errors
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import chain, home, merkle
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import system as system_lib

Asked = books_lib.Asked
CASES = 500


@pytest.fixture(scope='module')
def past(tmp_path_factory):
  """The work directory of a closed system in which everything has happened."""
  folder = tmp_path_factory.mktemp('past')
  with tiny.system(folder, owners=np.arange(24) // 2) as system:
    system.train()
    system.delete([3], name='first')
    system.delete_many([Asked([5], name='second'), Asked([], [4])])
    system.repair()
    system.add([3], allow_reinsert=True)
    system.delete([7, 9])
    system.repair()
    system.delete([11], name='last')
    head = system.head()
  return folder / 'system', head


def answer(receipt):
  """What is the same when it is asked again."""
  return (
    receipt.request,
    receipt.deleted,
    receipt.already,
    receipt.gone,
    receipt.depths,
  )


def test_a_name_is_answered_as_the_first_time_whatever_happened(tmp_path):
  with tiny.system(tmp_path) as system:
    system.train()
    first = answer(system.delete([1, 2], name='mine'))
    assert first[:3] == (2, 2, 0) and first[3]
    before = tiny.dump(system.workdir)
    assert answer(system.delete([2, 1, 1], name='mine')) == first
    assert tiny.dump(system.workdir) == before
    system.repair()
    assert answer(system.delete([1, 2], name='mine')) == first
  with contextlib.closing(
    system_lib.System.open(str(tmp_path / 'system'))
  ) as system:
    assert system.status()['requests'][-1]['erased']
    assert answer(system.delete([1, 2], name='mine')) == first
    again = system.delete([1, 2], name='another')
    assert (again.request, again.deleted, again.already) == (None, 0, 2)


def test_a_name_asks_for_one_thing(tmp_path):
  with tiny.system(tmp_path, owners=np.arange(24) // 2) as system:
    system.delete([1], name='mine')
    before = tiny.dump(system.workdir)
    for ids, owners in (
      ([2], []),
      ([1, 2], []),
      ([], [0]),
      ([1], [0]),
      ([], []),
    ):
      with pytest.raises(errors.RequestConflict, match='something else'):
        system.delete(ids, owners, name='mine')
      with pytest.raises(errors.RequestConflict):
        system.delete_many([Asked([5]), Asked(ids, owners, 'mine')])
    for bad in ('', 'x' * 257, 'a\nb', 7, b'mine', '\x00'):
      with pytest.raises(errors.ConfigError, match='name of a request'):
        system.delete([5], name=bad)
    assert tiny.dump(system.workdir) == before


def test_a_batch_is_one_step_or_none(tmp_path):
  with tiny.system(tmp_path) as system:
    before = tiny.dump(system.workdir)
    for bad in (
      Asked([99]),
      Asked(['1']),
      Asked([2], [77]),
      Asked([1], name=''),
    ):
      with pytest.raises((errors.UnknownId, errors.ConfigError)):
        system.delete_many([Asked([1]), bad, Asked([3])])
      with pytest.raises(errors.RequestConflict):
        system.delete_many([Asked([1], name='a'), Asked([2], name='a')])
    assert tiny.dump(system.workdir) == before
    assert system.delete_many([]) == []
    found = system.delete_many(
      [
        Asked([1, 1, 2], name='a'),
        Asked([2, 3]),  # one of them left just above
        Asked([2, 1], name='a'),
        Asked([1]),
      ]
    )
    assert [answer(f)[:3] for f in found] == [
      (2, 2, 0),
      (3, 1, 1),
      (2, 2, 0),
      (None, 0, 1),
    ]
    assert system.status()['examples'] == 21
    rows = system._books.ledger.log()
    assert [facts['event'] for _, facts, _, _ in rows] == [
      'added',
      'accepted',
      'deactivated',
    ]


def test_states_come_in_order_and_keep_their_time(tmp_path, monkeypatch):
  now = itertools.count(1e9, -10)  # a clock that only jumps back
  clock = types.SimpleNamespace(time=lambda: next(now))
  monkeypatch.setattr(ledger_lib, 'time', clock)
  with tiny.system(tmp_path) as system:
    system.train()
    ledger = system._books.ledger
    seqs = [system.delete([i]).request for i in (4, 2, 9)]
    told = {r.seq: r for r in ledger.requests()}
    times = [told[seq].accepted for seq in seqs]
    assert seqs == [2, 3, 4] and times == sorted(times, reverse=True)
    before = tiny.dump(system.workdir)
    for state in ('erased', 'accepted', 'forgotten'):
      with pytest.raises((errors.LedgerError, errors.UnknownName), match=state):
        ledger.mark(seqs, state, {})
    with pytest.raises(errors.LedgerError, match='99'):
      ledger.mark([*seqs, 99], 'deactivated', {})
    assert tiny.dump(system.workdir) == before
    system.repair()
    done = {r.seq: r for r in ledger.requests()}
    assert [done[seq].deactivated for seq in seqs] == [
      told[seq].deactivated for seq in seqs
    ]
    assert all(done[seq].erased for seq in seqs)
    ledger.mark(seqs, 'repaired', {})  # again: the first time stays
    assert {r.seq: r for r in ledger.requests()} == done
    ledger.check(system.head())


@contextlib.contextmanager
def _spoiled(ledger):
  """Its tables, to be changed; afterwards they are as before."""
  ledger._db.execute('begin')
  try:
    yield ledger._db
  finally:
    ledger._db.execute('rollback')


def _relink(db):
  """The chain that somebody would make who has changed rows of the log."""
  link = chain.START
  rows = db.execute('select seq, body from log order by seq').fetchall()
  for seq, body in rows:
    link = chain.link(link, chain.digest(body))
    db.execute('update log set hash = ? where seq = ?', (link, seq))


def _edit(rng, db, rows):
  seq = int(rng.integers(1, rows + 1))
  (body,) = db.execute('select body from log where seq = ?', (seq,)).fetchone()
  spot = int(rng.integers(len(body)))
  body = body[:spot] + chr(33 + (ord(body[spot]) - 32) % 90) + body[spot + 1 :]
  db.execute('update log set body = ? where seq = ?', (body, seq))
  return seq


def _drop(rng, db, rows):
  seq = int(rng.integers(1, rows))
  db.execute('delete from log where seq = ?', (seq,))
  return seq


def _reorder(rng, db, rows):
  one, two = sorted(rng.choice(np.arange(1, rows + 1), 2, False).tolist())
  for old, new in ((one, -1), (two, one), (-1, two)):
    db.execute('update log set seq = ? where seq = ?', (new, old))
  return one


def _hash(rng, db, rows):
  seq = int(rng.integers(1, rows + 1))
  db.execute('update log set hash = ? where seq = ?', (rng.bytes(32), seq))
  return seq


@pytest.mark.parametrize('kind', [_edit, _drop, _reorder, _hash])
def test_a_changed_log_is_refused_and_the_row_is_named(kind, past):
  workdir, head = past
  rng = np.random.default_rng(0)
  with contextlib.closing(_ledger(workdir)) as ledger:
    rows = ledger.head()[0]
    for _ in range(CASES // 4):
      with _spoiled(ledger) as db:
        seq = kind(rng, db, rows)
        with pytest.raises(errors.LedgerError, match=f' row {seq} of the log '):
          ledger.check()
    ledger.check(head)


@pytest.mark.parametrize('kind', ['cut', 'fork', 'rewritten', 'dropped'])
def test_a_log_that_is_linked_anew_is_not_the_one_of_the_head(kind, past):
  """Linked well, so that the head alone, or what stands beside, can tell."""
  workdir, head = past
  rng = np.random.default_rng(1)
  with contextlib.closing(_ledger(workdir)) as ledger:
    rows = ledger.head()[0]
    for _ in range(CASES // 4):
      with _spoiled(ledger) as db:
        seq = int(rng.integers(1, rows))
        if kind in ('cut', 'fork'):
          db.execute('delete from log where seq > ?', (seq,))
        if kind == 'fork':
          text = chain.body({'event': 'note', 'at': 1.0, 'epoch': 1})
          db.execute('insert into log values (?, ?, ?)', (seq + 1, text, b''))
        elif kind == 'rewritten':
          row = db.execute('select body from log where seq = ?', (seq,))
          facts = json.loads(row.fetchone()[0])
          text = chain.body({**facts, 'at': facts['at'] + 1})
          db.execute('update log set body = ? where seq = ?', (text, seq))
        elif kind == 'dropped':
          db.execute('delete from log where seq = ?', (seq,))
          db.execute('update log set seq = -seq where seq > ?', (seq,))
          db.execute('update log set seq = -seq - 1 where seq < 0')
        _relink(db)
        with pytest.raises(
          errors.LedgerError, match=f'never had the head {head}'
        ):
          ledger.check(head)
    ledger.check(head)


def test_an_older_copy_of_everything_is_seen_by_the_head_alone(tmp_path):
  with tiny.system(tmp_path) as system:
    system.delete([1])
    shutil.copytree(system.workdir, tmp_path / 'older')
    system.delete([2])
    head = system.head()
  system_lib.System.open(str(tmp_path / 'older')).close()
  with pytest.raises(errors.LedgerError, match=f'{head}.*rolled back'):
    system_lib.System.open(str(tmp_path / 'older'), head=head)


def _ledger(workdir):
  salt = bytes.fromhex(home.read(workdir)['salt'])
  return ledger_lib.Ledger(workdir / 'ledger.sqlite', salt)


def _opened(workdir):
  """What opening a system looks at, without the model."""
  facts = home.read(workdir)
  recipe = recipe_lib.Recipe.from_json(facts['recipe'])
  salt = bytes.fromhex(facts['salt'])
  books_lib.Books(workdir, recipe, salt, recipe.open_data()).close()


TABLES = {
  'facts': 'name value',
  'records': 'id owner content',
  'deleted': 'token request shard slice back',
  'requests': 'seq kind count row token asked answer accepted deactivated '
  'repaired erased',
  'log': 'seq body hash',
}
COLUMNS = [(t, c) for t, some in TABLES.items() for c in some.split()]


def test_no_table_and_no_column_is_left_out(past):
  workdir, _ = past
  with contextlib.closing(sqlite3.connect(workdir / 'ledger.sqlite')) as db:
    names = db.execute("select name from sqlite_schema where type = 'table'")
    found = {}
    for (name,) in names.fetchall():
      columns = db.execute(f'select name from pragma_table_info("{name}")')
      found[name] = ' '.join(column for (column,) in columns)
  assert found == TABLES


@pytest.mark.parametrize('table, column', COLUMNS)
def test_a_ledger_with_another_value_is_refused(table, column, past, tmp_path):
  workdir, _ = past
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy, ignore=shutil.ignore_patterns('stages'))
  _opened(copy)
  path = copy / 'ledger.sqlite'
  key = next(iter(TABLES[table].split()))
  with contextlib.closing(sqlite3.connect(path)) as db:
    rows = db.execute(f'select {key}, {column} from {table}').fetchall()
  # One row of each value there is, or the first few.
  rows = list({row[1]: row for row in rows}.values())
  tried = 0
  for row in rows[:4]:
    for value in _others(row[1]):
      with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute('pragma journal_mode=wal')
        try:
          db.execute(
            f'update {table} set {column} = ? where {key} is ?', (value, row[0])
          )
        except sqlite3.IntegrityError:
          continue  # the table itself refuses it
        db.commit()
        tried += 1
        with pytest.raises(errors.WorkdirError):
          _opened(copy)
        db.execute(
          f'update {table} set {column} = ? where {key} is ?',
          (row[1], value if key == column else row[0]),
        )
        db.commit()
  assert tried
  _opened(copy)


def _others(value):
  if isinstance(value, bytes):
    return [bytes([value[0] ^ 1]) + value[1:], value[:-1], value.hex(), None]
  if isinstance(value, str):
    return [value[:-1], f'{value} ', value.encode(), None]
  if value is None:
    return [1, b'\0' * 32, 'x']
  return [value + 1, -value - 1, f'{value}?', None]


# As the first version made it.
_SCHEMA_1 = """
create table facts (name text primary key, value) without rowid;
create table records (id primary key, owner, content blob) without rowid;
create table deleted (token blob primary key, request integer) without rowid;
create table requests (
  seq integer primary key autoincrement, kind text, count integer,
  accepted real, deactivated real, repaired real
);
insert into facts values ('schema', 1);
"""


def _of_schema_1(workdir, gone):
  """Replaces a fresh ledger by one of the first version that deleted `gone`."""
  facts = home.read(workdir)
  salt = bytes.fromhex(facts['salt'])
  with contextlib.closing(_ledger(workdir)) as new:
    ids, owners, contents = new.records()
  (workdir / 'ledger.sqlite').unlink()
  with contextlib.closing(sqlite3.connect(workdir / 'ledger.sqlite')) as old:
    old.execute('pragma journal_mode=wal')
    old.executescript(_SCHEMA_1)
    old.executemany(
      'insert into records values (?, ?, ?)',
      [
        (i, o, bytes(c))
        for i, o, c in zip(ids.tolist(), owners.tolist(), contents, strict=True)
        if i not in gone
      ],
    )
    old.executemany(
      'insert into requests (kind, count, accepted, deactivated, repaired) '
      'values (?, ?, ?, ?, ?)',
      [
        ('add', len(ids), 1.0, None, 2.0),
        ('delete', len(gone), 3.0, 4.0, None),
      ],
    )
    old.executemany(
      'insert into deleted values (?, 2)',
      [(token,) for token in merkle.tokens(salt, gone)],
    )
    old.commit()
  facts.update(format=1)
  (workdir / 'system.json').write_text(json.dumps(facts))


def test_a_ledger_of_the_first_version_goes_on(tmp_path):
  with tiny.system(tmp_path) as system:
    workdir = system.workdir
    system.train()
  _of_schema_1(workdir, [3, 8])
  with contextlib.closing(system_lib.System.open(str(workdir))) as system:
    status = system.status()
    assert status['examples'] == 22 and status['missing'] > 0
    kinds = [(r['kind'], r['count'], r['accepted']) for r in status['requests']]
    assert kinds == [('add', 24, 1.0), ('delete', 2, 3.0)]
    assert system.delete([3]).already == 1
    with pytest.raises(errors.UnknownId, match='allow_reinsert'):
      system.add([8])
    system.repair()
    assert all(r['repaired'] for r in system.status()['requests'])
    assert system.add([8], allow_reinsert=True) == 1
    request = system.delete([10], name='of now').request
    system.repair()
    assert request == 4 and system.audit('E3').passed
    assert system.certificate(request)['request'] == request
    with pytest.raises(errors.UnknownId, match='older than the log'):
      system.certificate(2)
    system._books.ledger.check(system.head())
  with contextlib.closing(system_lib.System.open(str(workdir))) as system:
    assert system.delete([10], name='of now').request == request


def test_a_ledger_of_a_later_version_is_left_alone(tmp_path):
  with tiny.system(tmp_path) as system:
    path = system.workdir / 'ledger.sqlite'
  with contextlib.closing(sqlite3.connect(path)) as db:
    later = ledger_lib.SCHEMA + 1
    db.execute("update facts set value = ? where name = 'schema'", (later,))
    db.commit()
  before = tiny.dump(path.parent)
  with pytest.raises(errors.WorkdirError, match=f'schema {later}.*reads'):
    system_lib.System.open(str(path.parent))
  assert tiny.dump(path.parent) == before


@pytest.mark.parametrize('reopened', [False, True])
def test_nothing_on_disk_names_who_was_erased(reopened, tmp_path):
  word = 'a-long-name-that-nobody-else-has-'
  names = [f'{word}{i:03}' for i in range(60)]
  owners = [f'owner-of-{name}' for name in names]
  with tiny.system(tmp_path, names, owners) as system:
    system.train()
    workdir, gone = system.workdir, names[:7] + [names[40]]
    assert _found(workdir, gone) == set(gone)
    system.delete(gone[:4], name=gone[0])
    system.delete(owners=[f'owner-of-{name}' for name in gone[4:]])
    if not reopened:
      system.repair()
      assert _found(workdir, names) == set(names) - set(gone)
  if reopened:
    with contextlib.closing(system_lib.System.open(str(workdir))) as again:
      again.repair()
  assert _found(workdir, names) == set(names) - set(gone)


def _found(workdir, names):
  files = [path for path in workdir.rglob('*') if path.is_file()]
  content = b'\n'.join(path.read_bytes() for path in files)
  return {name for name in names if name.encode() in content}


def test_what_is_no_row_of_a_log_is_damage_and_not_an_accident(past):
  """Whatever stands in the log, its reader finds the same kind of words."""
  workdir, _ = past
  bodies = ['', '[]', '7', 'null', '{}', '{"event":"accepted"}']
  bodies += [
    '{"event":"repaired","requests":[99],"at":1,"epoch":1}',
    b'{}',
    None,
  ]
  with contextlib.closing(_ledger(workdir)) as ledger:
    rows = ledger.head()[0]
    for body in bodies:
      for seq in (1, 2, rows):
        with _spoiled(ledger) as db:
          db.execute('update log set body = ? where seq = ?', (body, seq))
          if isinstance(body, str):
            _relink(db)
          with pytest.raises(errors.LedgerError, match='damaged'):
            ledger.check()
