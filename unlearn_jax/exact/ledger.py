"""Which examples a system may use, and every request it was given.

SQLite, one writer. A deletion is one transaction: the rows of the examples
leave, keyed tokens that recognize them stay, and the request is recorded. So
after a crash either all of it happened or nothing.
"""

import hmac
import pathlib
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from unlearn_jax import errors

SCHEMA = 1
_TABLES = """
create table facts (name text primary key, value) without rowid;
create table records (id primary key, owner, content blob) without rowid;
create table deleted (token blob primary key, request integer) without rowid;
create table requests (
  seq integer primary key autoincrement, kind text, count integer,
  accepted real, deactivated real, repaired real
);
"""
_MANY = 500  # ids in one query; SQLite may refuse more than 999
_STATES = ('accepted', 'deactivated', 'repaired')


class Request(NamedTuple):
  """One line of the ledger; times are None until they come."""

  seq: int
  kind: str
  count: int
  accepted: float
  deactivated: float | None
  repaired: float | None


class Ledger:
  """The records and requests of one system."""

  def __init__(self, path: pathlib.Path, key: bytes, *, create: bool = False):
    """`key` makes the tokens: without it they name nobody."""
    if create == path.exists():
      what = 'exists already' if create else 'does not exist'
      raise errors.WorkdirError(f'ledger {path} {what}')
    self._key = key
    # Readers in other threads go through the system, which holds a lock.
    self._db = sqlite3.connect(path, check_same_thread=False)
    self._db.execute('pragma journal_mode=wal')
    self._db.execute('pragma synchronous=full')
    self._db.execute('pragma secure_delete=on')
    if create:
      self._db.executescript(_TABLES)
      with self._db:
        self._db.execute('insert into facts values (?, ?)', ('schema', SCHEMA))
    self._check_schema(path)

  def close(self) -> None:
    self._db.close()

  def version(self) -> int:
    """Another number after every write of another connection."""
    return self._db.execute('pragma data_version').fetchone()[0]

  def admit(
    self, ids: np.ndarray, owners: np.ndarray, contents: np.ndarray
  ) -> int:
    """Adds examples; returns the number of the request."""
    rows = zip(ids.tolist(), owners.tolist(), map(bytes, contents), strict=True)
    tokens = self.tokens(ids) + self.tokens(owners, 'owner')
    with self._db:
      self._db.executemany('insert into records values (?, ?, ?)', rows)
      # An example that comes back is deleted no longer.
      self._db.executemany(
        'delete from deleted where token = ?', ((t,) for t in tokens)
      )
      return self._open_request('add', len(ids))

  def delete(
    self, ids: Sequence[int | str], owners: Sequence[int | str] = ()
  ) -> int:
    """Removes examples; returns the number of the request.

    `owners` are those who asked: they are recognized when they ask again.
    """
    tokens = self.tokens(ids) + self.tokens(owners, 'owner')
    with self._db:
      seq = self._open_request('delete', len(ids))
      self._db.executemany(
        'delete from records where id = ?', ((i,) for i in ids)
      )
      self._db.executemany(
        'insert or ignore into deleted values (?, ?)',
        ((t, seq) for t in tokens),
      )
    return seq

  def mark(self, seqs: Iterable[int], state: str) -> None:
    """Records when requests reached a state."""
    errors.check_choice('state', state, _STATES)
    now = time.time()
    with self._db:
      self._db.executemany(
        f'update requests set {state} = ? where seq = ? and {state} is null',
        ((now, seq) for seq in seqs),
      )

  def records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, owners, contents [n, 32]) of the surviving examples."""
    rows = self._db.execute('select id, owner, content from records').fetchall()
    ids, owners, contents = zip(*rows, strict=True) if rows else ((), (), ())
    content = np.frombuffer(b''.join(contents), np.uint8).reshape(-1, 32)
    return _names(ids), _names(owners), content

  def was_deleted(
    self, names: Sequence[int | str], kind: str = 'id'
  ) -> np.ndarray:
    """[n] whether each id (or owner) was deleted, and is so still."""
    tokens = self.tokens(names, kind)
    found = set()
    for start in range(0, len(tokens), _MANY):
      some = tokens[start : start + _MANY]
      marks = ', '.join('?' * len(some))
      found.update(
        token
        for (token,) in self._db.execute(
          f'select token from deleted where token in ({marks})', some
        )
      )
    return np.array([token in found for token in tokens], bool)

  def requests(self) -> list[Request]:
    """Every request, in order."""
    rows = self._db.execute('select * from requests order by seq')
    return [Request(*row) for row in rows]

  def tokens(self, names: Iterable[int | str], kind: str = 'id') -> list[bytes]:
    """Keyed names of ids or owners: 1 and '1' are two."""
    plain = (n.item() if isinstance(n, np.generic) else n for n in names)
    return [
      hmac.digest(self._key, repr((kind, name)).encode(), 'sha256')
      for name in plain
    ]

  def _open_request(self, kind: str, count: int) -> int:
    cursor = self._db.execute(
      'insert into requests (kind, count, accepted) values (?, ?, ?)',
      (kind, count, time.time()),
    )
    return cursor.lastrowid

  def _check_schema(self, path: pathlib.Path) -> None:
    try:
      row = self._db.execute(
        "select value from facts where name = 'schema'"
      ).fetchone()
    except sqlite3.DatabaseError as error:
      raise errors.WorkdirError(f'{path} is no ledger: {error}') from error
    if row != (SCHEMA,):
      raise errors.WorkdirError(
        f'{path} has schema {row}, this version reads {SCHEMA}'
      )


def _names(values: Sequence[int | str]) -> np.ndarray:
  if values and isinstance(values[0], str):
    return np.array(values, str)
  return np.array(values, np.int64)
