"""A trained system that forgets: create, train, delete, repair, audit.

Everything follows from names (see `stages.py`). Deleting makes the names that
saw an example underivable and switches serving to what is left; repairing
makes the derivable names that are missing; nothing else is ever trained.
"""

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from unlearn_jax import devices, errors, files, types
from unlearn_jax.exact import audit as audit_lib
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import builder as builder_lib
from unlearn_jax.exact import (
  canary,
  erasure,
  home,
  merkle,
  receipts,
  serving,
  stages,
)
from unlearn_jax.exact import certificate as certificate_lib
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import shelf as shelf_lib
from unlearn_jax.exact import store as store_lib

Report = Callable[[int, int], None]
Receipt = receipts.Receipt


class _Plan(NamedTuple):
  names: dict[stages.Stage, str]
  missing: list[stages.Stage]
  changes: int  # of the system when it was made


class System:
  """One work directory; made by `create` or `open`.

  Several processes (`devices.join_cluster`) may share a system, on a work
  directory and data that all of them see. Then `create`, `open`, `train`,
  `repair`, `rebuild`, `delete`, `add`, `status` and `audit` are collective: all
  processes make the same calls in the same order, one at a time, and all get
  the same answer. What only reads (`predict`, `names`, `served`, `digest`) is
  each process's own affair. The lead alone writes.

  Several processes that know nothing of each other may open one system too,
  on one machine. Each sees what the others did before it answers or changes
  anything; one of them repairs at a time.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    facts: Mapping[str, Any],
    resident_rows: int | None = None,
    **trust: Any,
  ):
    self.workdir = workdir
    self.recipe = recipe_lib.Recipe.from_json(facts['recipe'])
    self._salt = bytes.fromhex(facts['salt'])
    self._capacity = facts['capacity']
    data = self.recipe.open_data()
    self._program = program_lib.Program(
      self.recipe, data, resident_rows=resident_rows
    )
    self.sequences = tuple(tuple(order) for order in facts['sequences'])
    self._books = books_lib.Books(
      workdir, self.recipe, self._salt, data, **trust
    )
    self._store = store_lib.Store(workdir / 'stages')
    self._shelf = shelf_lib.Shelf(
      self.recipe, self._program, self._books, self._store, self.sequences
    )
    self.wanted = self._shelf.wanted
    # One changes what is true, for moments; one repair runs, for long; readers
    # take neither, they look at a view.
    self._lock, self._repairing = threading.RLock(), threading.Lock()
    try:
      self._shelf.switch()
      self._settle()
    except BaseException:
      self.close()
      raise

  @classmethod
  def create(
    cls,
    workdir: str,
    config: Mapping[str, Any],
    *,
    resident_rows: int | None = None,
  ) -> 'System':
    """Makes a new, untrained system that may use every row of its data.

    Args:
      workdir: a directory that is new or empty.
      config: fields of a `Recipe`, as plain JSON.
      resident_rows: of a shard on a device; larger ones are streamed to it.
    """
    recipe = recipe_lib.Recipe.from_json(config)
    data = recipe.open_data()
    program_lib.Program(recipe, data).start(0)  # refuses what cannot work
    path = home.folder(workdir)
    facts = devices.from_lead(lambda: home.begin(path, recipe, data))
    return cls(path, facts, resident_rows)

  @classmethod
  def open(
    cls,
    workdir: str,
    *,
    resident_rows: int | None = None,
    head: str | None = None,
    take_over: bool = False,
  ) -> 'System':
    """The system of a work directory, whatever happened to it.

    A request that was accepted before a kill has taken effect when this
    returns. What else was under way `repair` goes on with: opening trains
    nothing, for who only wants to ask must not wait for hours.

    Args:
      workdir: of the system.
      resident_rows: as in `create`.
      head: of the log, as it was once printed; a ledger that never had it was
        rolled back, and is refused.
      take_over: from a process that holds the system and does not move. It
        can change nothing any more, should it wake up.
    """
    path = home.folder(workdir)
    facts = devices.from_lead(lambda: home.read(path))
    return cls(path, facts, resident_rows, head=head, take_over=take_over)

  def close(self) -> None:
    self._books.close()

  def train(self, report: Report | None = None) -> int:
    """Makes every derivable stage exist; returns how many were trained."""
    return self.repair(report)

  def repair(self, report: Report | None = None) -> int:
    """Trains the derivable stages that are missing, and only those.

    Args:
      report: is told after each stage how many rows stages have passed over,
        and of how many: those of later stages are more.
    """
    with self._one_repair():
      trained = self._repair(report)
      self._erase()
      return trained

  def erase(self) -> list[int]:
    """Removes what depends on deleted examples; requests erased by that.

    `repair` does it too. Before a repair files go already, but only what is
    repaired counts as erased.
    """
    with self._one_repair():
      with self._lock:
        self._follow()
      return self._erase()

  def rebuild(self, report: Report | None = None) -> int:
    """Trains anew what another machine or version made, and what is missing.

    Afterwards every stage can be compared bit for bit here. This process
    serves what it served until all of it is done.
    """
    with self._one_repair():
      with self._lock:
        self._follow()
        names = self.names()
        foreign = devices.from_lead(lambda: self._foreign(names))
      # Children first: a kill on the way leaves prefixes, as always.
      for stage in reversed(foreign):
        self._shelf.remove(names[stage])
      trained = self._repair(report)
      self._erase()
      return trained

  def delete(
    self,
    ids: Sequence[int | str] = (),
    owners: Sequence[int | str] = (),
    *,
    name: str | None = None,
  ) -> Receipt:
    """Stops using examples, at once; `repair` brings back what they shared.

    Ids deleted before are acknowledged again; one unknown id or owner refuses
    the whole request, and nothing changes. After an error it is unknown whether
    the request was accepted: ask again, best by the same `name`, which is
    answered as it was the first time.
    """
    return self.delete_many([books_lib.Asked(ids, owners, name)])[0]

  def delete_many(self, asked: Sequence[books_lib.Asked]) -> list[Receipt]:
    """Many requests in one durable step: all are accepted, or none."""
    began = time.monotonic()
    if not asked:
      return []
    with self._one_change():
      found = self._books.resolve(asked)
      answers = self._leave([each for each in found if len(each.positions)])
      head, depths = self.head(), self._view.depths
      return receipts.give(found, answers, depths, head, began)

  def add(
    self, ids: Sequence[int | str], *, allow_reinsert: bool = False
  ) -> int:
    """Admits examples that the data set now holds; `repair` trains on them.

    Returns how many; those in use already are left as they are.
    """
    with self._one_change():
      added = self._books.admit(ids, allow_reinsert)
      if added:
        self._shelf.switch()
      return added

  def head(self) -> str:
    """Hash that stands for the whole log; to be kept where nobody else writes.

    `open` and certificates can be held against it later.
    """
    return self._books.ledger.head()[1]

  def certificate(self, request: int) -> dict[str, Any]:
    """What shows a stranger that a deletion was carried out; as JSON holds it.

    The request must be erased, and everything repaired.
    """
    with self._lock:
      self._follow()
      names = self.names()
      self._shelf.check(names)
      return certificate_lib.make(
        request,
        self._books,
        self._shelf.recipe_digest,
        self._shelf.made(names),
      )

  def predict(self, x: np.ndarray) -> np.ndarray:
    """Outputs [n, num_outputs] for normalized inputs [n, *input_shape]."""
    if jax.process_count() == 1:  # A cluster's processes must ask together.
      self._follow()
    return self._shelf.server.predict(np.asarray(x, np.float32))

  def answers(
    self, chosen: Sequence[stages.Stage], x: np.ndarray
  ) -> np.ndarray:
    """Outputs [stages, n, num_outputs] of stages that exist, each by itself."""
    with self._lock:
      self._follow()
      names = self.names()
      self._shelf.check(names, chosen)
      params = [self._shelf.state(stage, names).params for stage in chosen]
    return self._shelf.server.answers(params, np.asarray(x, np.float32))

  def names(self) -> dict[stages.Stage, str]:
    """The name of every stage, as the survivors make it."""
    return self._shelf.names()

  def served(self) -> dict[str, str]:
    """Digest of the parameters each living shard answers with."""
    return self._shelf.served()

  def digests(self) -> dict[str, str]:
    """Digest of what each existing, derivable stage keeps."""
    return self._shelf.digests(self.names())

  def digest(self) -> str:
    """One digest over every derivable stage; all of them must exist."""
    return self._shelf.digest()

  def status(self) -> dict[str, Any]:
    """What is there, what is missing, what serves."""
    with self._lock:
      self._follow()
      have, names = self._store.names(), self.names()
      requests = self._books.requests()
    view = self._view
    return {
      'strategy': self.recipe.strategy,
      'examples': int(self._records.alive.sum()),
      'shards': self.recipe.shards,
      'slices': self.recipe.slices,
      'sequences': [list(order) for order in self.sequences],
      'stages': len(self.wanted),
      'missing': sum(names[stage] not in have for stage in self.wanted),
      'stale': len(have - set(names.values())),
      'served_depths': view.depths,
      'served': [str(stage) if stage else None for stage in view.stages],
      'requests': [request._asdict() for request in requests],
    }

  def audit(
    self,
    level: str,
    data: types.Dataset | None = None,
    report: Report | None = None,
    *,
    sample: int | None = None,
  ) -> audit_lib.Report:
    """Rebuilds stages in a clean room and compares digests bit for bit.

    Args:
      level: 'E1' rebuilds what is served; 'E2' every stage, all of which must
        exist; 'E3' the same, and nothing may be left of what was deleted.
      data: a data set that never held what was deleted; by default the
        survivors in the system's own.
      report: as in `repair`.
      sample: rebuild so many stages, drawn anew each time, from the stored
        ones that they go on from.
    """
    errors.check_choice('level of an audit', level, audit_lib.LEVELS)
    with self._lock:
      self._follow()
      names, have = self.names(), self._store.names()
      there = {stage: name for stage, name in names.items() if name in have}
      served = [stage for stage in self._view.stages if stage]
      data = self._books.survivors() if data is None else data
      left = ()
      if level == 'E3':
        left = erasure.residue(
          self.workdir, self._books, self._store, names.values()
        )
    return audit_lib.audit(
      level=level,
      recipe=self.recipe,
      salt=self._salt,
      data=data,
      wanted=audit_lib.closed(served) if level == 'E1' else self.wanted,
      there=there,
      store=self._store,
      names=names,
      report=report,
      residue=left,
      sample=sample,
    )

  @property
  def _records(self) -> records_lib.Records:
    return self._books.records

  @property
  def _view(self) -> serving.View:
    return self._shelf.server.view

  @contextlib.contextmanager
  def _one_change(self) -> Iterator[None]:
    """Nobody else changes what is true meanwhile; all they did is known."""
    with self._lock, self._books.alone('change'):
      self._follow()
      try:
        yield
      except BaseException:
        # It may have happened all the same: whoever asks next looks first.
        self._books.doubt()
        raise

  @contextlib.contextmanager
  def _one_repair(self) -> Iterator[None]:
    """Nobody else trains meanwhile; what a killed one left is cleaned up."""
    with self._repairing, self._books.alone('repair'):
      self._books.ledger.check_writer()
      self._store.sweep()
      self._settle()
      try:
        yield
      except errors.UnlearnError:
        if devices.is_lead():  # Its files may have been swept away.
          self._books.ledger.held().check_writer()
        raise

  def _follow(self) -> None:
    """Takes over what another process has done, and serves accordingly."""
    vanished = True
    while vanished and self._books.news():
      with self._lock, self._books.catch_up():
        vanished = self._shelf.switch()

  def _foreign(self, names: Mapping[stages.Stage, str]) -> list[stages.Stage]:
    """Stages, parents first, that cannot be compared with ones made here."""
    have = self._store.names()
    made = {
      stage: self._store.facts(names[stage])['fingerprint']
      for stage in self.wanted
      if names[stage] in have
    }
    return audit_lib.foreign(made, devices.fingerprint())

  def _repair(self, report: Report | None) -> int:
    trained = 0
    while True:
      with self._lock:
        self._follow()
        plan = self._plan()
      if not plan.missing:
        return trained
      trained += self._carry_out(plan, report)

  def _plan(self) -> _Plan:
    """What is missing now. Requests that need nothing more are repaired."""
    names = self.names()
    missing = devices.from_lead(lambda: self._shelf.missing(names))
    if not missing:
      self._all_repaired(names)
      self._shelf.switch(names)
    return _Plan(names, missing, self._books.changes)

  def _carry_out(self, plan: _Plan, report: Report | None) -> int:
    """Trains what a plan misses; stops when a request makes it old.

    The lock is free while stages train: deletions take effect meanwhile, and
    a stage that is no longer wanted when it is done is thrown away.
    """
    finished, rows = 0, 0

    def valid():
      self._follow()
      self._books.ledger.check_writer()
      return self._books.changes == plan.changes

    def find(stage):
      return self._shelf.state(stage, plan.names)

    def finish(stage, made):
      nonlocal finished, rows
      name = plan.names[stage]
      facts = {
        'parent': plan.names.get(stage.parent),
        'fingerprint': made.fingerprint,
      }
      # Saved without the lock: a deletion must not wait for a disk. What it
      # made old meanwhile has a name that nothing derives any more.
      try:
        devices.from_lead(lambda: self._save(name, stage, made.tree, facts))
      except errors.FencedOut:
        self._drop(name)
        raise
      with self._lock:
        if not valid():
          return
        self._shelf.keep(name, made.tree)
        finished += 1
        rows += work[stage]
      if report:
        report(rows, sum(work.values()))

    with self._lock:
      if not valid():
        return 0
      builder, capacity = self._builder()
      work = self._records.work(plan.missing)
    canary.check(
      self._program,
      plan.missing[0].depth,
      capacity,
      self.workdir / 'canary.json',
    )
    if builder.build(plan.missing, find, finish, valid):
      with self._lock:
        self._shelf.switch()
    return finished

  def _save(self, name, stage, tree, facts) -> None:
    """Saves a stage, unless somebody has taken over meanwhile."""
    ledger = self._books.ledger.held()
    ledger.check_writer()
    self._store.save(name, stage, tree, facts)
    ledger.check_writer()

  def _drop(self, name: str) -> None:
    """Removes a stage, saved too late, that nothing derives any more.

    Of one that is derived who has taken over may know, or have made it.
    """
    with self._lock:
      self._follow()
      if name not in self.names().values():
        if name in devices.from_lead(self._store.names):
          self._shelf.remove(name)

  def _settle(self) -> None:
    """Finishes requests that a kill or an error cut short."""

    def cut_short():
      lacking = self._books.ledger.lacking('deactivated')
      return [r.seq for r in lacking if r.kind == 'delete']

    if cut_short():
      with self._one_change():
        if done := cut_short():
          self._shelf.switch()
          self._books.mark(done, 'deactivated')

  def _leave(self, found: Sequence[books_lib.Found]) -> list[dict[str, Any]]:
    """Carries out requests; what each is answered."""
    if not found:
      return []
    before, have = self.names(), devices.from_lead(self._store.names)
    roots = self._records.roots()
    after, answers = {}, []

    def describe():
      after.update(self.names())
      gone = [stage for stage in self.wanted if before[stage] != after[stage]]
      chosen = self._shelf.chosen(after, have)
      depths = [stage.depth if stage else 0 for stage in chosen]
      told = [str(stage) for stage in gone]  # once: requests may be many
      answers.extend(receipts.answer(each, told, depths) for each in found)
      stored = {s: before[s] for s in gone if before[s] in have}
      return receipts.facts(roots, self._records.roots(), stored), answers

    seqs = self._books.delete(found, describe)
    self._shelf.switch(after)
    self._books.mark(seqs, 'deactivated')
    return [
      {**answer, 'request': seq}
      for seq, answer in zip(seqs, answers, strict=True)
    ]

  def _all_repaired(self, names) -> None:
    """Records that everything is there, and as what."""
    requests = self._books.unrepaired()
    made = files.digest(self._shelf.made(names))
    if requests or self._books.ledger.last_with('made').get('made') != made:
      self._books.mark(
        requests,
        'repaired',
        roots=merkle.of_roots(self._records.roots()).hex(),
        recipe=self._shelf.recipe_digest.hex(),
        made=made,
      )

  def _erase(self) -> list[int]:
    return erasure.erase(
      self._books,
      self._store,
      set(self.names().values()),
      retention=self.recipe.retention,
    )

  def _builder(self) -> tuple[builder_lib.Builder, int]:
    """One for the survivors of this moment, and the rows it makes room for."""
    largest = int(self._records.counts().sum(axis=1).max(initial=1))
    capacity = max(self._capacity, program_lib.capacity_for(largest))
    builder = builder_lib.Builder(
      self._program, self._records, self._books.data, capacity=capacity
    )
    return builder, capacity
