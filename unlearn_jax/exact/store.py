"""Stages on disk, by name.

A stage keeps only what it trained (its block and head under `s3t`); the rest
comes from the stages it goes on from and from the public start. A record
beside the arrays says which stage it is, on what it stands, the digest of what
it holds and the machine that made it. Reading checks all of it: what does not
match is refused by name.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from unlearn_jax import checkpoints, devices, errors, trees
from unlearn_jax.exact import stages


class Store:
  """The folder of a system's stages."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._finished: set[str] = set()
    self._proofs: dict[str, tuple[str, str]] = {}

  def sweep(self) -> None:
    """Cleans up after saves that were killed; nobody may be saving."""
    if devices.is_lead():  # Of a cluster: it alone saves.
      checkpoints.sweep(self._folder)

  def names(self) -> set[str]:
    """Of every finished stage."""
    # Each deletion asks: what was seen finished is not looked into again.
    seen = self._finished
    self._finished = {
      name
      for name in self._entries()
      if name in seen or checkpoints.exists(self._folder / name)
    }
    return set(self._finished)

  def save(
    self,
    name: str,
    stage: stages.Stage,
    tree: Any,
    facts: Mapping[str, Any],
  ) -> str:
    """Makes `name` exist; returns the digest of `tree`.

    If it exists with the same digest nothing happens; with another one, the
    same program on the same data has given two results, which is an error.
    """
    path = self._folder / name
    if checkpoints.exists(path):
      before, digest = self.facts(name)['digest'], trees.digest(tree)
      if before != digest:
        raise errors.CheckpointError(
          f'stage {stage} ({name}) was {before} and is {digest} now: this '
          'machine does not repeat its results'
        )
      return digest
    digest = trees.digest(tree)
    meta = {'name': name, 'stage': str(stage), 'digest': digest, **facts}
    checkpoints.save(path, tree, meta)
    return digest

  def load(self, name: str, like: Any = None) -> Any:
    """The tree of a stage, its bytes and its digest verified."""
    tree, meta = checkpoints.load(self._path(name), like=like)
    self._check(name, meta)
    return tree

  def facts(self, name: str) -> dict[str, Any]:
    """What was recorded beside a stage."""
    meta = checkpoints.load_meta(self._path(name))
    self._check(name, meta)
    return meta

  def proof(self, name: str) -> tuple[str, str]:
    """(digest of the tree, digest of the files) of a stage, as recorded."""
    if name not in self._proofs:
      seal = checkpoints.seal(self._folder / name)
      self._proofs[name] = self.facts(name)['digest'], seal
    return self._proofs[name]

  def stale(self, derivable: Iterable[str]) -> list[list[str | None]]:
    """[stage, name, digest] of all that stands here under another name.

    Of what is damaged only the name is known.
    """
    return [
      [*self._known(name)]
      for name in sorted(set(self._entries()) - set(derivable))
    ]

  def temporaries(self) -> list[str]:
    """What saves and removals have not finished, or were killed at."""
    return sorted(name for name in self._listed() if name[0] == '.')

  def remove(self, name: str) -> None:
    """Makes `name` not exist."""
    self._finished = self._finished - {name}
    self._proofs.pop(name, None)
    checkpoints.remove(self._folder / name)

  def _path(self, name: str) -> pathlib.Path:
    path = self._folder / name
    if path.is_symlink():
      raise errors.CheckpointError(f'{path} is a link, and no stage')
    return path

  def _check(self, name: str, meta: Mapping[str, Any]) -> None:
    if meta.get('name') != name:
      raise errors.CheckpointError(
        f'{self._folder / name} holds stage {meta.get("name")}'
      )

  def _known(self, name: str) -> tuple[str | None, str, str | None]:
    try:
      facts = self.facts(name)
      return facts['stage'], name, facts['digest']
    except (errors.CheckpointError, KeyError):
      return None, name, None

  def _entries(self) -> list[str]:
    return [name for name in self._listed() if name[0] != '.']

  def _listed(self) -> list[str]:
    try:
      return os.listdir(self._folder)
    except FileNotFoundError:
      return []
