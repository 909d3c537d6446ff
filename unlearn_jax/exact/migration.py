"""Ledgers of earlier versions, brought to the present tables.

The log begins with what was known then: requests of that time have no name, no
places and no row of their own.
"""

from collections.abc import Callable
from typing import Any

_FROM_1 = """
alter table requests rename to requests_1;
create table requests (
  seq integer primary key, kind text, count integer, row integer,
  token blob unique, asked blob, answer text,
  accepted real, deactivated real, repaired real, erased real
);
insert into requests (seq, kind, count, row, accepted, deactivated, repaired)
  select seq, kind, count, 1, accepted, deactivated, repaired from requests_1;
drop table requests_1;
alter table deleted rename to deleted_1;
create table deleted (
  token blob, request integer, shard integer, slice integer, back integer,
  primary key (token, request)
) without rowid;
insert into deleted select token, request, null, null, null from deleted_1;
drop table deleted_1;
create index deleted_by on deleted (request);
create table log (seq integer primary key, body text, hash blob);
insert into facts values ('epoch', 1);
update facts set value = 2 where name = 'schema'
"""
_TIMES = ('accepted', 'deactivated', 'repaired')


def _from_1(db, digest_of: Callable[..., str]) -> list[list[Any]]:
  for statement in _FROM_1.split(';'):
    db.execute(statement)  # not as a script, which would commit at once
  rows = db.execute(
    f'select seq, kind, count, {", ".join(_TIMES)} from requests'
  )
  told = []
  for seq, kind, count, *times in rows.fetchall():
    left = db.execute(
      'select token, shard, slice from deleted where request = ?', (seq,)
    )
    pairs = zip(_TIMES, times, strict=True)
    said = {name: time for name, time in pairs if time is not None}
    told.append([seq, kind, count, digest_of(left), said])
  return told


# What brings a ledger of a schema to the next one; returns what its log is to
# say of the requests so far.
FROM = {1: _from_1}
