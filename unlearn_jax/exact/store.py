"""Stages on disk, by name.

A stage keeps only what it trained (its block and head under `s3t`); the rest
comes from the stages it goes on from and from the public start. A record
beside the arrays says which stage it is, on what it stands, the digest of what
it holds and the machine that made it. Reading checks all of it: what does not
match is refused by name.
"""

import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from unlearn_jax import checkpoints, devices, errors, trees
from unlearn_jax.exact import stages


class Store:
  """The folder of a system's stages."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._finished: set[str] = set()

  def sweep(self) -> None:
    """Cleans up after saves that were killed; nobody may be saving."""
    if devices.is_lead():  # Of a cluster: it alone saves.
      checkpoints.sweep(self._folder)

  def names(self) -> set[str]:
    """Of every finished stage."""
    try:
      found = os.listdir(self._folder)
    except FileNotFoundError:
      return set()
    # Each deletion asks: what was seen finished is not looked into again.
    seen = self._finished
    self._finished = {
      name
      for name in found
      if name in seen
      or (name[0] != '.' and checkpoints.exists(self._folder / name))
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
    tree, meta = checkpoints.load(self._folder / name, like=like)
    if meta.get('name') != name:
      raise errors.CheckpointError(
        f'{self._folder / name} holds stage {meta.get("name")}'
      )
    return tree

  def facts(self, name: str) -> dict[str, Any]:
    """What was recorded beside a stage."""
    return checkpoints.load_meta(self._folder / name)

  def remove(self, name: str) -> None:
    """Makes `name` not exist."""
    self._finished = self._finished - {name}  # half removed is not finished
    shutil.rmtree(self._folder / name)
