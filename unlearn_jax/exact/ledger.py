"""Which examples a system may use, and every request it was given.

SQLite. A request is one transaction: rows of examples leave or come, keyed
tokens that recognize who left stay, and a row of the log says what happened
(see `chain.py`). So after a crash either all of it happened or nothing. What
is deleted is overwritten, and `forget` empties the journal too.

One writer at a time, and none that has been given up on: whoever takes over a
system raises its epoch, and what an older one writes then is refused.
"""

import contextlib
import hashlib
import json
import pathlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unlearn_jax import errors, files
from unlearn_jax.exact import chain, history, merkle, migration

SCHEMA = 2
_TABLES = """
create table facts (name text primary key, value) without rowid;
create table records (id primary key, owner, content blob) without rowid;
create table deleted (
  token blob, request integer, shard integer, slice integer, back integer,
  primary key (token, request)
) without rowid;
create index deleted_by on deleted (request);
create table requests (
  seq integer primary key, kind text, count integer, row integer,
  token blob unique, asked blob, answer text,
  accepted real, deactivated real, repaired real, erased real
);
create table log (seq integer primary key, body text, hash blob);
"""
_MANY = 500  # values in one query; SQLite may refuse more than 999
STATES = history.STATES


class Request(NamedTuple):
  """One request; times are None until they come."""

  seq: int
  kind: str
  count: int
  accepted: float
  deactivated: float | None
  repaired: float | None
  erased: float | None


class Deletion(NamedTuple):
  """What leaves with one request."""

  ids: list[int | str]
  places: list[tuple[int, int]]  # shard and slice of each id
  owners: list[int | str]  # who asked: recognized when they ask again
  token: bytes | None  # of the request, if it has a name
  asked: bytes  # digest of what it asked for
  answer: dict[str, Any]  # to give again when it is asked again


class Known(NamedTuple):
  """An earlier request of the same name."""

  seq: int
  asked: bytes
  answer: dict[str, Any]


class Left(NamedTuple):
  """An example, or with no place an owner, that a request deleted."""

  token: bytes
  shard: int | None
  part: int | None
  back: int | None  # the request that brought it back


class Ledger:
  """The records, requests and log of one system."""

  def __init__(self, path: pathlib.Path, key: bytes, *, create: bool = False):
    """`key` makes the tokens: without it they name nobody."""
    if create == path.exists():
      what = 'exists already' if create else 'does not exist'
      raise errors.WorkdirError(f'ledger {path} {what}')
    self._path, self._key = path, key
    if not create:
      with files.naming('open', path):
        files.check_plain(path)
    with self._naming('open'):
      # Readers in other threads go through the system, which holds a lock.
      self._db = sqlite3.connect(
        path, check_same_thread=False, isolation_level=None, timeout=30
      )
      try:
        self._begin(create)
      except BaseException:
        self._db.close()
        raise

  def close(self) -> None:
    self._db.close()

  def version(self) -> int:
    """Another number after every write of another connection."""
    return self._ask('pragma data_version')[0][0]

  def epoch(self) -> int:
    """Of the writer that this one is."""
    return self._epoch

  def check_writer(self) -> None:
    """Refuses to go on when another process has taken over."""
    if self._fact('epoch') != self._epoch:
      raise errors.FencedOut(
        f'another process has taken over {self._path}; nothing was changed'
      )

  def take_over(self) -> None:
    """Shuts out everyone who opened the ledger before."""
    with self._writing(checked=False):
      self._epoch = self._fact('epoch') + 1
      self._db.execute(
        "update facts set value = ? where name = 'epoch'", (self._epoch,)
      )
      self._log('taken over', {})

  def head(self) -> tuple[int, str]:
    """Number and hash of the last row of the log."""
    rows = self._ask('select seq, hash from log order by seq desc limit 1')
    return (rows[0][0], rows[0][1].hex()) if rows else (0, chain.START.hex())

  def admit(
    self,
    ids: np.ndarray,
    owners: np.ndarray,
    contents: np.ndarray,
    facts: Mapping[str, Any],
  ) -> int:
    """Adds examples; returns the number of the request.

    `facts` of this and the other methods go into the row of the log.
    """
    ids, owners = ids.tolist(), owners.tolist()
    rows = zip(ids, owners, map(bytes, contents), strict=True)
    tokens = self.tokens(ids) + self.tokens(owners, 'owner')
    with self._writing():
      self._db.executemany('insert into records values (?, ?, ?)', rows)
      seq = self.last() + 1
      # An example that comes back is deleted no longer.
      self._db.executemany(
        'update deleted set back = ? where token = ? and back is null',
        ((seq, token) for token in tokens),
      )
      back = self._db.execute(
        'select token, shard, slice from deleted where back = ?', (seq,)
      )
      told = [seq, len(ids), _digest_of(back)]
      row, now = self._log('added', {**facts, 'request': told})
      self._db.execute(
        'insert into requests (seq, kind, count, row, accepted) '
        'values (?, ?, ?, ?, ?)',
        (seq, 'add', len(ids), row, now),
      )
    return seq

  def delete(
    self, deletions: Sequence[Deletion], facts: Mapping[str, Any]
  ) -> list[int]:
    """Removes examples, all or none; returns the numbers of the requests."""
    with self._writing():
      last = self.last()
      seqs = [last + at for at, _ in enumerate(deletions, start=1)]
      told, rows, gone = [], [], []
      for seq, deletion in zip(seqs, deletions, strict=True):
        left = self._left(deletion)
        gone += [(token, seq, *place) for token, *place in left]
        answer = json.dumps({**deletion.answer, 'request': seq})
        named = [deletion.token, deletion.asked, answer]
        count = len(deletion.ids)
        told.append([seq, count, _digest_of(left), _digest_of_name(*named)])
        rows.append([seq, 'delete', count, *named])
      self._db.executemany(
        'delete from records where id = ?',
        ((one,) for deletion in deletions for one in deletion.ids),
      )
      self._db.executemany(
        'insert into deleted values (?, ?, ?, ?, null)', gone
      )
      row, now = self._log('accepted', {**facts, 'requests': told})
      self._db.executemany(
        'insert into requests (seq, kind, count, token, asked, answer, row, '
        'accepted) values (?, ?, ?, ?, ?, ?, ?, ?)',
        ([*request, row, now] for request in rows),
      )
    return seqs

  def mark(
    self, seqs: Iterable[int], state: str, facts: Mapping[str, Any]
  ) -> None:
    """Records when requests reached a state; none is passed over."""
    errors.check_choice('state', state, STATES[1:])
    seqs = list(seqs)
    before = STATES[STATES.index(state) - 1]
    with self._writing():
      # What was added needs not be deactivated.
      reached = self._among(
        f"select seq from requests where ({before} is not null or kind = 'add')"
        ' and seq',
        seqs,
      )
      if early := sorted(set(seqs) - reached):
        raise errors.LedgerError(
          f'requests cannot be {state} before they are {before}: {early[:5]}'
        )
      _, now = self._log(state, {**facts, 'requests': seqs})
      self._db.executemany(
        f'update requests set {state} = ? where seq = ? and {state} is null',
        ((now, seq) for seq in seqs),
      )

  def note(self, event: str, facts: Mapping[str, Any]) -> None:
    """A row of the log about no request."""
    with self._writing():
      self._log(event, facts)

  def forget(self) -> bool:
    """Empties the journal; False while another connection still reads it.

    Until then what was deleted is overwritten in the database, but not gone.
    """
    with self._naming('empty the journal of'):
      busy = files.disk.run('checkpoint', self._checkpoint)
    return not busy

  def records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, owners, contents [n, 32]) of the surviving examples."""
    rows = self._ask('select id, owner, content from records')
    ids, owners, contents = zip(*rows, strict=True) if rows else ((), (), ())
    try:
      content = np.frombuffer(b''.join(contents), np.uint8).reshape(-1, 32)
      return _names(ids), _names(owners), content.reshape(len(ids), 32)
    except (TypeError, ValueError, OverflowError) as error:
      raise self._damaged(f'a record is none: {error}') from error

  def was_deleted(
    self, names: Sequence[int | str], kind: str = 'id'
  ) -> np.ndarray:
    """[n] whether each id (or owner) was deleted, and is so still."""
    tokens = self.tokens(names, kind)
    found = self._among(
      'select token from deleted where back is null and token', tokens
    )
    return np.array([token in found for token in tokens], bool)

  def known(self, token: bytes) -> Known | None:
    """The request of this token."""
    rows = self._ask(
      'select seq, asked, answer from requests where token = ?', (token,)
    )
    return next((Known(s, asked, json.loads(a)) for s, asked, a in rows), None)

  def last(self) -> int:
    """Number of the last request."""
    return self._ask('select max(seq) from requests')[0][0] or 0

  def kinds_after(self, seq: int) -> set[str]:
    """Of the requests after this one."""
    rows = self._ask('select distinct kind from requests where seq > ?', (seq,))
    return {kind for (kind,) in rows}

  def requests(self) -> list[Request]:
    """Every request, in order."""
    rows = self._ask(
      f'select seq, kind, count, {", ".join(STATES)} from requests order by seq'
    )
    return [Request(*row) for row in rows]

  def lacking(self, state: str) -> list[Request]:
    """Requests that have not reached a state, in order."""
    errors.check_choice('state', state, STATES)
    rows = self._ask(
      f'select seq, kind, count, {", ".join(STATES)} from requests '
      f'where {state} is null order by seq'
    )
    return [Request(*row) for row in rows]

  def tokens_of(self, seq: int) -> list[Left]:
    """Whom a request deleted, and who asked, in the order of the tokens."""
    rows = self._ask(
      'select token, shard, slice, back from deleted where request = ? '
      'order by token',
      (seq,),
    )
    return [Left(*row) for row in rows]

  def row_of(self, seq: int) -> int:
    """Number of the row of the log that accepted a request."""
    rows = self._ask('select row from requests where seq = ?', (seq,))
    if not rows:
      raise errors.UnknownId(
        f'there is no request {seq}; there are {self.last()}'
      )
    return rows[0][0]

  def log(self, first: int = 1) -> list[tuple[int, dict[str, Any], str, bytes]]:
    """(number, facts, text, hash) of the rows from the `first` on."""
    rows = self._ask(
      'select seq, body, hash from log where seq >= ? order by seq', (first,)
    )
    return [(seq, json.loads(text), text, link) for seq, text, link in rows]

  def last_with(self, field: str) -> dict[str, Any]:
    """Facts of the last row that has a field; nothing when none has it."""
    rows = self._ask(
      'select body from log where body like ? order by seq desc limit 1',
      (f'%"{field}":%',),
    )
    return json.loads(rows[0][0]) if rows else {}

  def check(self, head: str | None = None) -> None:
    """Refuses a ledger that is damaged, or that never had this head.

    The chain is followed from its start, and what stands beside the log is
    compared with what the log says.
    """
    while True:
      version = self.version()
      try:
        return self._check(head)
      except errors.LedgerError:
        # Its queries are of several moments: others may have written between.
        if self.version() == version:
          raise

  def tokens(self, names: Iterable[int | str], kind: str = 'id') -> list[bytes]:
    """Keyed names of ids, owners or requests."""
    plain = (n.item() if isinstance(n, np.generic) else n for n in names)
    return merkle.tokens(self._key, plain, kind)

  def _check(self, head: str | None) -> None:
    with self._naming('check'):
      found = self._db.execute('pragma integrity_check').fetchone()[0]
      if found != 'ok':
        raise self._damaged(found)
      found = self._db.execute('select seq, body, hash from log order by seq')
      numbers, rows = [], []
      for number, *row in found:
        numbers.append(number)
        rows.append(row)
      wrong = chain.broken(rows)
      if wrong:
        raise self._damaged(f'row {wrong} of the log was changed')
      if numbers != list(range(1, len(rows) + 1)):
        raise self._damaged('rows of the log have other numbers')
      if head is not None and head != chain.START.hex():
        if head not in {link.hex() for _, link in rows}:
          raise errors.LedgerError(
            f'{self._path} never had the head {head}: it was rolled back, or '
            'is another one'
          )
      try:
        self._compare([json.loads(text) for text, _ in rows])
      except (LookupError, TypeError, ValueError) as error:
        raise self._damaged(f'its log is none: {error!r}') from error

  def _compare(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """What the tables say against what the log does."""
    if self._fact('epoch') != max((row['epoch'] for row in rows), default=1):
      raise self._damaged('its epoch is not what the log says')
    left: dict[int, list[tuple]] = {}
    came: dict[int, list[tuple]] = {}
    deleted = self._db.execute(
      'select request, back, token, shard, slice from deleted'
    )
    for request, back, *who in deleted:
      left.setdefault(request, []).append(who)
      if back is not None:
        came.setdefault(back, []).append(who)
    told = history.requests(rows)
    found = self._db.execute(
      f'select seq, kind, count, row, token, asked, answer, '
      f'{", ".join(STATES)} from requests'
    )
    for seq, kind, count, row, *named in found:
      times = zip(STATES, named[3:], strict=True)
      who = (came if kind == 'add' else left).pop(seq, ())
      stands = history.Told(
        kind,
        count,
        row,
        _digest_of(who),
        None if named[:3] == [None] * 3 else _digest_of_name(*named[:3]),
        {state: time for state, time in times if time is not None},
      )
      if told.pop(seq, None) != stands:
        raise self._damaged(f'request {seq} is not what the log says')
    if told or left or came:
      seq = min([*told, *left, *came])
      raise self._damaged(f'request {seq} is missing')

  def _begin(self, create: bool) -> None:
    """Sets up the connection, and the tables of a new ledger."""
    self._db.execute('pragma journal_mode=wal')
    self._db.execute('pragma synchronous=full')
    self._db.execute('pragma secure_delete=on')
    if create:
      self._db.executescript(_TABLES)
      self._db.executemany(
        'insert into facts values (?, ?)', [('schema', SCHEMA), ('epoch', 1)]
      )
    else:
      self._migrate()
    self._epoch = self._fact('epoch')

  def _among(self, query: str, values: Sequence[Any]) -> set[Any]:
    """What a query, up to its last name, finds of `values`."""
    found = set()
    for start in range(0, len(values), _MANY):
      some = values[start : start + _MANY]
      marks = ', '.join('?' * len(some))
      found.update(one for (one,) in self._ask(f'{query} in ({marks})', some))
    return found

  def _left(self, deletion: Deletion) -> list[tuple[bytes, Any, Any]]:
    """What stays behind: who left, from where, and who asked."""
    tokens = self.tokens(deletion.ids)
    asking = self.tokens(deletion.owners, 'owner')
    places = [*deletion.places, *[(None, None)] * len(asking)]
    return [
      (token, *place)
      for token, place in zip(tokens + asking, places, strict=True)
    ]

  def _log(self, event: str, facts: Mapping[str, Any]) -> tuple[int, float]:
    """Adds a row; its number and its time. Inside a transaction."""
    (seq, before), now = self.head(), time.time()
    text = chain.body(
      {'event': event, 'at': now, 'epoch': self._epoch, **facts}
    )
    link = chain.link(bytes.fromhex(before), chain.digest(text))
    self._db.execute('insert into log values (?, ?, ?)', (seq + 1, text, link))
    return seq + 1, now

  @contextlib.contextmanager
  def _writing(self, *, checked: bool = True) -> Iterator[None]:
    """One transaction, by a writer that was not shut out."""
    with self._naming('write'):
      self._db.execute('begin immediate')
      try:
        if checked:
          self.check_writer()
        yield
        files.disk.run('commit', lambda: self._db.execute('commit'))
      except BaseException:
        if self._db.in_transaction:
          self._db.execute('rollback')
        raise

  @contextlib.contextmanager
  def _naming(self, what: str) -> Iterator[None]:
    """Errors of SQLite, with the file they are about."""
    try:
      yield
    # Of a damaged file SQLite's own words may be no text.
    except (sqlite3.Error, UnicodeDecodeError) as error:
      raise errors.LedgerError(
        f'cannot {what} ledger {self._path}: {error}'
      ) from error

  def _checkpoint(self) -> int:
    done = self._db.execute('pragma wal_checkpoint(truncate)')
    return done.fetchone()[0]

  def _fact(self, name: str) -> Any:
    rows = self._ask('select value from facts where name = ?', (name,))
    return rows[0][0] if rows else None

  def _ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
    with self._naming('read'):
      return self._db.execute(query, values).fetchall()

  def _migrate(self) -> None:
    """Brings an older ledger to this schema; a newer one is refused."""
    try:
      found = self._fact('schema')
    except errors.LedgerError as error:
      raise errors.WorkdirError(
        f'{self._path} is no ledger: {error}'
      ) from error
    if found == SCHEMA:
      return
    if found not in migration.FROM:
      raise errors.WorkdirError(
        f'{self._path} has schema {found}, this version reads {SCHEMA}'
      )
    with self._writing(checked=False):
      self._epoch = 1
      told = migration.FROM[found](self._db, _digest_of)
      self._log('migrated', {'requests': told})

  def _damaged(self, why: str) -> errors.LedgerError:
    return errors.LedgerError(f'ledger {self._path} is damaged: {why}')


def _digest_of(left: Iterable[tuple[bytes, int | None, int | None]]) -> str:
  """Of tokens and the places that they had; owners have none."""
  lines = [
    # What is no token in a damaged table has a digest too, another one.
    f'{token.hex() if type(token) is bytes else repr(token)} {shard} {part}\n'
    for token, shard, part in left
  ]
  return hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()


def _digest_of_name(token: bytes | None, asked: bytes, answer: str) -> str:
  text = repr((token, asked, answer))
  return hashlib.sha256(text.encode()).hexdigest()


def _names(values: Sequence[int | str]) -> np.ndarray:
  if values and isinstance(values[0], str):
    return np.array(values, str)
  return np.array(values, np.int64)
