"""What a system has: what its stages are called now, which exist, which serve.

Nothing is decided here about requests, and nothing is trained: the books say
who is left, and everything else follows from that and from the files.
"""

import contextlib
import hashlib
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import jax

from unlearn_jax import devices, errors, trees, types
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import serving, stages
from unlearn_jax.exact import store as store_lib

Names = Mapping[stages.Stage, str]


class Shelf:
  """The stages of a system, by name; some are kept in memory."""

  def __init__(
    self,
    recipe: recipe_lib.Recipe,
    program: program_lib.Program,
    books: books_lib.Books,
    store: store_lib.Store,
    sequences: Sequence[Sequence[int]],
  ):
    self._recipe, self._program = recipe, program
    self._books, self.store = books, store
    self._sequences = sequences
    self.recipe_digest = recipe.digest(books.data)
    self.wanted = stages.wanted(recipe.shards, sequences)
    self._kept: dict[str, types.Params] = {}  # name -> what the stage keeps
    self.server = serving.Server(
      program.engine.apply,
      books.data.task,
      aggregate=recipe.aggregate,
      fallback=recipe.fallback,
    )

  def names(self) -> dict[stages.Stage, str]:
    """The name of every stage, as the survivors make it."""
    roots = self._books.records.roots()
    return {
      stage: stages.name(self.recipe_digest, stage, roots)
      for stage in self.wanted
    }

  def missing(
    self, names: Names, chosen: Sequence[stages.Stage] | None = None
  ) -> list[stages.Stage]:
    """Which of the stages `chosen`, by default of all, do not exist."""
    have = self.store.names()
    chosen = self.wanted if chosen is None else chosen
    return [stage for stage in chosen if names[stage] not in have]

  def check(
    self, names: Names, chosen: Sequence[stages.Stage] | None = None
  ) -> None:
    """Refuses while one of them is missing."""
    missing = [str(stage) for stage in self.missing(names, chosen)]
    if missing:
      raise errors.StagesMissing(
        f'{len(missing)} stage(s) are missing, repair first: {missing[:5]}'
      )

  @contextlib.contextmanager
  def _reading(self, names: Names) -> Iterator[None]:
    """What another process has erased meanwhile is missing, not damaged."""
    try:
      yield
    except errors.CheckpointError:
      self.check(names)
      raise

  def made(self, names: Names) -> list[list[str]]:
    """[stage, name, digest, seal of its files] of every stage; all exist."""

    def proofs():
      with self._reading(names):
        return [
          [str(stage), names[stage], *self.store.proof(names[stage])]
          for stage in self.wanted
        ]

    return devices.from_lead(proofs)

  def digests(self, names: Names) -> dict[str, str]:
    """Digest of what each existing, derivable stage keeps."""
    have = self.store.names()
    return {
      str(stage): self.store.facts(name)['digest']
      for stage, name in names.items()
      if name in have
    }

  def digest(self) -> str:
    """One digest over every derivable stage; all of them must exist."""
    names = self.names()
    self.check(names)
    with self._reading(names):
      text = json.dumps(self.digests(names), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

  def served(self) -> dict[str, str]:
    """Digest of the parameters each living shard answers with."""
    view = self.server.view
    return {
      str(stage): trees.digest(params)
      for stage, params in zip(view.stages, view.params, strict=True)
      if stage is not None
    }

  def chosen(
    self, names: Names, have: Container[str]
  ) -> tuple[stages.Stage | None, ...]:
    """What should serve: per shard the longest prefix of those that exist."""
    return serving.choose(
      self._recipe.shards, self._sequences, lambda stage: names[stage] in have
    )

  def switch(self, names: Names | None = None) -> bool:
    """Serves the longest prefix that is derivable and exists, per shard.

    Returns whether another process has erased a stage that was to be read: it
    has followed news then that this one has not.
    """
    names = self.names() if names is None else names
    # What may not be used any more does not stay in memory either.
    derivable = set(names.values())
    self._kept = {n: t for n, t in self._kept.items() if n in derivable}
    vanished = False
    while True:
      have = devices.from_lead(self.store.names)
      try:
        self.server.view = self._read(names, have)
        return vanished
      except BaseException as error:
        # A shard that gives no answer, not one that must not be given.
        self.server.view = self.server.view.only(derivable)
        unread = isinstance(error, errors.CheckpointError)
        # Of a cluster each process reads for itself: it cannot look again.
        alone = jax.process_count() == 1
        if not (unread and alone and have - self.store.names()):
          raise
        vanished = True

  def state(self, stage: stages.Stage, names: Names) -> program_lib.State:
    """A stage that exists, with what it stands on."""
    if stage.parent is None or self._recipe.strategy == 'sisa':
      params = self._program.start(stage.shard).params
    else:
      params = self.state(stage.parent, names).params
    return self._program.restore(stage, params, self._tree(stage, names[stage]))

  def keep(self, name: str, tree: Any) -> None:
    """Spares reading what has just been made."""
    self._kept[name] = tree

  def remove(self, name: str) -> None:
    """Makes a stage not exist, in memory and on disk."""
    self._kept.pop(name, None)
    devices.from_lead(lambda: self.store.remove(name))

  def _read(self, names: Names, have: Container[str]) -> serving.View:
    """What should serve, of which only the new is read."""
    chosen = self.chosen(names, have)
    chosen_names = tuple(names[s] if s else None for s in chosen)
    view = self.server.view
    params = dict(zip(view.names, view.params, strict=True))
    for stage, name in zip(chosen, chosen_names, strict=True):
      if name not in params:
        params[name] = self.state(stage, names).params if stage else None
    served = tuple(params[name] for name in chosen_names)
    return serving.View(chosen, served, chosen_names)

  def _tree(self, stage: stages.Stage, name: str) -> Any:
    if name not in self._kept:
      self._kept[name] = self.store.load(name)
    return self._kept[name]
