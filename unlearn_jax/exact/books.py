"""Who may be used: the ledger on disk and the records in memory, in step.

Several processes may keep the books of one system. What another one wrote is
taken over by `catch_up`; who is about to write holds the lock of its epoch, so
that nobody decides on what is no longer true.
"""

import contextlib
import hashlib
import pathlib
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unlearn_jax import devices, errors, files, types
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import merkle, spelling
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib


class Asked(NamedTuple):
  """A request to delete; `name` tells it from others when it comes again."""

  ids: Sequence[int | str] = ()
  owners: Sequence[int | str] = ()
  name: str | None = None


class Found(NamedTuple):
  """What a request means now."""

  positions: np.ndarray  # of the living that are to leave
  already: int  # names of those who have left before
  owners: list[int | str]
  token: bytes | None
  asked: bytes
  known: ledger_lib.Known | int | None  # the same one, before or above


class Books:
  """The ledger, the records and the data that they are about."""

  def __init__(
    self,
    workdir: pathlib.Path,
    recipe: recipe_lib.Recipe,
    salt: bytes,
    data: types.Dataset,
    *,
    head: str | None = None,
    take_over: bool = False,
  ):
    """Refuses a ledger that is damaged, or that never had this `head`."""
    self._workdir, self._recipe, self._salt = workdir, recipe, salt
    # SQLite is for one machine, a work directory may be shared by several.
    self.ledger = devices.OfLead(
      lambda: ledger_lib.Ledger(workdir / 'ledger.sqlite', salt)
    )
    try:
      self.ledger.check(head)
      if take_over:
        self.ledger.take_over()
      self.data = data
      self.changes = 0  # counts what makes a plan old
      self._version: int | None = self.ledger.version()
      self._load()
    except BaseException:
      self.ledger.close()
      raise

  def close(self) -> None:
    self.ledger.close()

  @contextlib.contextmanager
  def alone(self, what: str) -> Iterator[None]:
    """Excludes other processes from `what`; of a cluster the lead does.

    Those that have been taken over from hold another lock, and no right.
    """
    path = self._workdir / f'{what}-{self.ledger.epoch()}.lock'
    with files.locked(path) if devices.is_lead() else contextlib.nullcontext():
      yield

  def news(self) -> bool:
    """Whether another process has written since `catch_up`."""
    return self.ledger.version() != self._version

  @contextlib.contextmanager
  def catch_up(self) -> Iterator[None]:
    """Takes over what another process has written.

    It counts as known after the body, which is to act on it: until then every
    other thread sees news too.
    """
    version = self.ledger.version()
    kinds = self.ledger.kinds_after(self._seen)
    if kinds:
      if 'add' in kinds:
        self.data = self._recipe.open_data()
      self._load()
      self.changes += 1
    yield
    self._version = version

  def doubt(self) -> None:
    """Counts what this process last wrote as news: it may have happened."""
    self._version = None

  def resolve(self, asked: Sequence[Asked]) -> list[Found]:
    """What each request means after those before it; one bad refuses all."""
    ids = [_plain(a.ids, self.data.ids, 'id') for a in asked]
    owners = [_plain(a.owners, self.data.owners, 'owner') for a in asked]
    tokens = [_named(self._salt, a.name) for a in asked]
    flat = [i for some in ids for i in some]
    dead = self.ledger.was_deleted(flat)
    found = np.full(len(flat), -1)
    found[~dead] = self.records.find(_where_not(flat, dead))
    ends = np.cumsum([len(some) for some in ids])[:-1]
    leaving = ~self.records.alive
    seen: dict[bytes, tuple[int, bytes]] = {}
    resolved = []
    for number, at in enumerate(np.split(found, ends)):
      digest = self._digest(ids[number], owners[number])
      known = self._known(tokens[number], digest, seen)
      if tokens[number]:
        seen.setdefault(tokens[number], (number, digest))
      already, rows = int((at < 0).sum()), at[at >= 0]
      if owners[number]:
        theirs, gone = self._of_owners(owners[number])
        already, rows = already + gone, np.union1d(rows, theirs)
      fresh = rows[~leaving[rows]] if known is None else rows[:0]
      already += len(rows) - len(rows[~leaving[rows]])
      leaving[fresh] = True
      resolved.append(
        Found(fresh, already, owners[number], tokens[number], digest, known)
      )
    return resolved

  def delete(
    self,
    found: Sequence[Found],
    describe: Callable[[], tuple[Mapping[str, Any], Sequence[dict[str, Any]]]],
  ) -> list[int]:
    """Removes what requests mean, all at once; the numbers of the requests.

    Args:
      found: requests that each have somebody to remove.
      describe: asked when the records say how it will be: facts for the log,
        and the answer to each request.
    """
    leaving = np.concatenate([each.positions for each in found])
    self.records.set_alive(leaving, False)
    try:
      facts, answers = describe()
      seqs = self.ledger.delete(
        [
          self._deletion(each, answer)
          for each, answer in zip(found, answers, strict=True)
        ],
        facts,
      )
    except BaseException:
      self.records.set_alive(leaving, True)
      raise
    self._seen = seqs[-1]
    self.changes += 1
    return seqs

  def admit(self, ids: Sequence, allow_reinsert: bool) -> int:
    """Adds the rows that the data hold now under `ids`; how many are new."""
    data = self._recipe.open_data()
    ids = np.unique(np.array(_plain(ids, data.ids, 'id'), data.ids.dtype))
    new = ids[~np.isin(ids, self.records.ids[self.records.alive])]
    at = data.positions_of(new)
    spelling.check(new, 'id')
    spelling.check(data.owners[at], 'owner')
    back = new[self.ledger.was_deleted(new.tolist())]
    if len(back) and not allow_reinsert:
      raise errors.UnknownId(
        f'{len(back)} id(s) were deleted and may come back only with '
        f'allow_reinsert=True: {back[:5].tolist()}'
      )
    if len(new):
      owners, contents = data.owners[at], data.content_digests(at)
      after = self.records.joined(new, owners, contents)
      facts = {'roots': merkle.of_roots(after.roots()).hex()}
      self._seen = self.ledger.admit(new, owners, contents, facts)
      self.data, self.records = data, after
      self.changes += 1
    return len(new)

  def mark(self, requests: Sequence[int], state: str, **facts: Any) -> None:
    """Records that requests have reached a state."""
    self.ledger.mark(requests, state, facts)

  def unrepaired(self) -> list[int]:
    """Requests that the records know of and that are not repaired."""
    lacking = self.ledger.lacking('repaired')
    return [r.seq for r in lacking if r.seq <= self._seen]

  def requests(self) -> list[ledger_lib.Request]:
    return self.ledger.requests()

  def survivors(self) -> types.Dataset:
    """The data of the living, each checked to be what was admitted."""
    where = self.records.check(self.data)
    return self.data.subset(where[self.records.alive])

  def _load(self) -> None:
    # In this order: what comes between is seen as news once more.
    self._seen = self.ledger.last()  # the last one known
    told = self.ledger.last_with('roots')
    self.records = records_lib.Records(
      self._recipe, self._salt, *self.ledger.records()
    )
    found = merkle.of_roots(self.records.roots()).hex()
    # Unless somebody has written meanwhile, which is news.
    if told and told['roots'] != found and self.ledger.last() == self._seen:
      raise errors.LedgerError(
        f'{self._workdir}/ledger.sqlite is damaged: its records are not those '
        'that its log tells of'
      )

  def _deletion(
    self, found: Found, answer: dict[str, Any]
  ) -> ledger_lib.Deletion:
    at = found.positions
    shards, slices = self.records.shard[at], self.records.slice[at]
    return ledger_lib.Deletion(
      ids=self.records.ids[at].tolist(),
      places=list(zip(shards.tolist(), slices.tolist(), strict=True)),
      owners=found.owners,
      token=found.token,
      asked=found.asked,
      answer=answer,
    )

  def _of_owners(self, owners: list) -> tuple[np.ndarray, int]:
    """(rows of those who have some, number of those who have left)."""
    dead = self.ledger.was_deleted(owners, 'owner')
    return self.records.of_owners(_where_not(owners, dead)), int(dead.sum())

  def _digest(self, ids: list, owners: list) -> bytes:
    """Of what is asked for, whatever the order."""
    tokens = [
      *merkle.tokens(self._salt, ids),
      *merkle.tokens(self._salt, owners, 'owner'),
    ]
    return hashlib.sha256(b''.join(sorted(tokens))).digest()

  def _known(self, token, asked, seen) -> ledger_lib.Known | int | None:
    """An earlier request of the same name, here or in the ledger."""
    if token is None:
      return None
    if token in seen:
      known, before = seen[token]
    else:
      known = self.ledger.known(token)
      if known is None:
        return None
      before = known.asked
    if before != asked:
      raise errors.RequestConflict(
        'a request of this name has asked for something else; nothing was '
        'changed'
      )
    return known


def _named(salt: bytes, name: str | None) -> bytes | None:
  """The token of a request's name."""
  if name is None:
    return None
  if (
    type(name) is not str or not 0 < len(name) <= 256 or not name.isprintable()
  ):
    raise errors.ConfigError(
      'the name of a request is a text of 1 to 256 printable characters, got '
      f'{reprlib.repr(name)}'
    )
  return merkle.tokens(salt, [name], 'request')[0]


def _plain(names: Iterable, like: np.ndarray, what: str) -> list[int | str]:
  """Distinct names as Python has them, each of the type that `like` holds.

  NumPy would make one type of them all: True an 1, 8.0 an 8, 1 a '1', and
  'row' of what ends in NUL. So nothing is an array before this.
  """
  kind = str if like.dtype.kind == 'U' else int
  plain = [n.item() if isinstance(n, np.generic) else n for n in names]
  wrong = [
    n
    for n in plain
    if type(n) is not kind
    or (n.endswith('\0') if kind is str else not -(2**63) <= n < 2**63)
  ]
  if wrong:
    raise errors.UnknownId(
      f'{len(wrong)} {what}(s) are none of this system, whose {what}s are '
      f'{like.dtype}: {reprlib.repr(wrong)}'
    )
  return list(dict.fromkeys(plain))


def _where_not(names: list, dropped: np.ndarray) -> np.ndarray:
  return np.array(
    [n for n, drop in zip(names, dropped, strict=True) if not drop]
  )
