"""Who may be used: the ledger on disk and the records in memory, in step.

Several processes may keep the books of one system. What another one wrote is
taken over by `catch_up`; who is about to write holds `change.lock`, so that
nobody decides on what is no longer true.
"""

import contextlib
import pathlib
import reprlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from unlearn_jax import devices, errors, files, types
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib


class Books:
  """The ledger, the records and the data that they are about."""

  def __init__(
    self,
    workdir: pathlib.Path,
    recipe: recipe_lib.Recipe,
    salt: bytes,
    data: types.Dataset,
  ):
    self._workdir, self._recipe, self._salt = workdir, recipe, salt
    # SQLite is for one machine, a work directory may be shared by several.
    self._ledger = devices.OfLead(
      lambda: ledger_lib.Ledger(workdir / 'ledger.sqlite', salt)
    )
    self.data = data
    self.changes = 0  # counts what makes a plan old
    self._version = self._ledger.version()
    self._load()

  def close(self) -> None:
    self._ledger.close()

  @contextlib.contextmanager
  def alone(self, what: str) -> Iterator[None]:
    """Excludes other processes from `what`; of a cluster the lead does."""
    path = self._workdir / f'{what}.lock'
    with files.locked(path) if devices.is_lead() else contextlib.nullcontext():
      yield

  def news(self) -> bool:
    """Whether another process has written since `catch_up`."""
    return self._ledger.version() != self._version

  @contextlib.contextmanager
  def catch_up(self) -> Iterator[None]:
    """Takes over what another process has written.

    It counts as known after the body, which is to act on it: until then every
    other thread sees news too.
    """
    version = self._ledger.version()
    kinds = {r.kind for r in self._ledger.requests() if r.seq > self._seen}
    if kinds:
      if 'add' in kinds:
        self.data = self._recipe.open_data()
      self._load()
      self.changes += 1
    yield
    self._version = version

  def resolve(self, ids: Sequence, owners: Sequence) -> tuple[np.ndarray, int]:
    """(positions of the living, number of names deleted before)."""
    ids = _plain(ids, self.data.ids, 'id')
    owners = _plain(owners, self.data.owners, 'owner')
    dead = self._ledger.was_deleted(ids)
    chosen = self.records.find(_where_not(ids, dead))
    already = int(dead.sum())
    if owners:
      dead = self._ledger.was_deleted(owners, 'owner')
      rows = self.records.of_owners(_where_not(owners, dead))
      chosen = np.union1d(chosen, rows)
      already += int(dead.sum())
    return chosen[self.records.alive[chosen]], already

  def delete(self, positions: np.ndarray, owners: Sequence) -> int:
    """Removes the records at `positions`; the number of the request."""
    ids = self.records.ids[positions].tolist()
    owners = _plain(owners, self.data.owners, 'owner')
    self._seen = self._ledger.delete(ids, owners)
    self.records.set_alive(positions, False)
    self.changes += 1
    return self._seen

  def admit(self, ids: Sequence, allow_reinsert: bool) -> int:
    """Adds the rows that the data hold now under `ids`; how many are new."""
    data = self._recipe.open_data()
    ids = np.unique(np.array(_plain(ids, data.ids, 'id'), data.ids.dtype))
    new = ids[~np.isin(ids, self.records.ids[self.records.alive])]
    at = data.positions_of(new)
    back = new[self._ledger.was_deleted(new.tolist())]
    if len(back) and not allow_reinsert:
      raise errors.UnknownId(
        f'{len(back)} id(s) were deleted and may come back only with '
        f'allow_reinsert=True: {back[:5].tolist()}'
      )
    if len(new):
      self._ledger.admit(new, data.owners[at], data.content_digests(at))
      self.data = data
      self._load()
      self.changes += 1
    return len(new)

  def deactivated(self, request: int) -> None:
    """Records that nothing uses any more what a request deleted."""
    self._ledger.mark([request], 'deactivated')

  def all_repaired(self) -> None:
    """Records that all requests that the records know of are repaired."""
    open_ = [
      request.seq
      for request in self._ledger.requests()
      if request.repaired is None and request.seq <= self._seen
    ]
    self._ledger.mark(open_, 'repaired')

  def requests(self) -> list[ledger_lib.Request]:
    return self._ledger.requests()

  def survivors(self) -> types.Dataset:
    """The data of the living, each checked to be what was admitted."""
    where = self.records.check(self.data)
    return self.data.subset(where[self.records.alive])

  def _load(self) -> None:
    # In this order: what comes between is seen as news once more.
    self._seen = self._ledger.requests()[-1].seq  # the last one known
    self.records = records_lib.Records(
      self._recipe, self._salt, *self._ledger.records()
    )


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
