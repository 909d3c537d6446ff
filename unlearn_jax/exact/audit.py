"""Rebuilds stages in a clean room and compares them bit for bit.

The clean room shares nothing with the system but the recipe, the salt and a
data set: its own records, names and program. A stage passes when it has the
name that the clean data make and the digest that was recorded for it. Stages
made under another fingerprint (version, machine, flags) are not compared: that
is said, not hoped away.
"""

import dataclasses
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import logging

from unlearn_jax import devices, errors, trees, types
from unlearn_jax.exact import builder as builder_lib
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import stages
from unlearn_jax.exact import store as store_lib

LEVELS = ('E1', 'E2', 'E3')
# Why a stage does not pass; each a field of the report.
PROBLEMS = (
  'missing',
  'damaged',
  'other_name',
  'different',
  'incomparable',
  'residue',
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """What an audit found; stages by their text."""

  level: str
  checked: int
  equal: int
  different: tuple[str, ...]  # same name, other bits
  damaged: tuple[str, ...]  # what is stored cannot be read any more
  missing: tuple[str, ...]  # should exist and do not
  other_name: tuple[str, ...]  # not what the clean data would make
  incomparable: tuple[str, ...]  # made under another fingerprint
  residue: tuple[str, ...]  # what may depend on somebody who was deleted

  @property
  def passed(self) -> bool:
    return self.equal == self.checked > 0 and not self.residue


def audit(
  *,
  level: str,
  recipe: recipe_lib.Recipe,
  salt: bytes,
  data: types.Dataset,
  wanted: Sequence[stages.Stage],
  there: Mapping[stages.Stage, str],
  store: store_lib.Store,
  names: Mapping[stages.Stage, str],
  report: Callable[[int, int], None] | None = None,
  residue: Sequence[str] = (),
  sample: int | None = None,
) -> Report:
  """Rebuilds `wanted` from `data` alone.

  Args:
    level: only named in the report.
    recipe: of the system.
    salt: of its Merkle leaves.
    data: everything the system should have been trained on, and nothing else.
    wanted: the stages to rebuild, with all that they stand on.
    there: names of the stages that exist.
    store: where they are.
    names: what the system calls its stages.
    report: is told after each stage how many rows stages have passed over, and
      of how many.
    residue: what was found beside the stages.
    sample: rebuild only so many of `wanted`, which nobody can foresee, each
      from the stored one that it goes on from.
  """
  if sample is not None:
    wanted = _drawn(wanted, sample)
  records = records_lib.Records(
    recipe, salt, data.ids, data.owners, data.content_digests()
  )
  roots, digest = records.roots(), recipe.digest(data)
  clean = {stage: stages.name(digest, stage, roots) for stage in wanted}
  work = records.work(wanted)
  outcome: dict[stages.Stage, str] = {}

  def compare(stage, made):
    outcome[stage] = _compare(stage, made)
    if report:
      report(sum(work[s] for s in outcome), sum(work.values()))

  def _compare(stage, made):
    if stage not in there:
      return 'missing'
    if names[stage] != clean[stage]:
      return 'other_name'
    try:
      then = store.facts(names[stage])['fingerprint']
      tree = store.load(names[stage])
    except errors.CheckpointError as error:
      logging.error('%s', error)
      return 'damaged'
    # What stands on another machine's work has other bits for that reason;
    # not where that work itself was gone on from.
    if outcome.get(stage.parent) == 'incomparable' or not _alike(
      then, made.fingerprint
    ):
      return 'incomparable'
    same = trees.digest(tree) == trees.digest(made.tree)
    return 'equal' if same else 'different'

  program = program_lib.Program(recipe, data)
  largest = int(records.counts().sum(axis=1).max(initial=1))
  builder = builder_lib.Builder(
    program, records, data, capacity=program_lib.capacity_for(largest)
  )

  def stored(stage):
    """What a drawn stage goes on from."""
    params = program.start(stage.shard).params
    if stage.parent is not None and recipe.strategy == 's3t':
      params = stored(stage.parent).params
    return program.restore(stage, params, store.load(names[stage]))

  builder.build(wanted, stored, compare)

  def with_outcome(kind):
    return tuple(str(s) for s in wanted if outcome[s] == kind)

  return Report(
    level=level,
    checked=len(wanted),
    equal=len(with_outcome('equal')),
    residue=tuple(residue),
    **{problem: with_outcome(problem) for problem in PROBLEMS[:-1]},
  )


def foreign(
  made: Mapping[stages.Stage, Mapping[str, Any]], here: Mapping[str, Any]
) -> list[stages.Stage]:
  """Stages that cannot be compared with ones made `here`, parents first.

  `made` holds the fingerprint of each stage that exists.
  """
  found: list[stages.Stage] = []
  for stage in sorted(made, key=lambda s: s.depth):
    if stage.parent in found or not _alike(made[stage], here):
      found.append(stage)
  return found


def _drawn(
  wanted: Sequence[stages.Stage], sample: int
) -> tuple[stages.Stage, ...]:
  if type(sample) is not int or not 1 <= sample <= len(wanted):
    raise errors.ConfigError(
      f'a sample is 1 to {len(wanted)} stages, got {sample!r}'
    )
  drawn = set(secrets.SystemRandom().sample(wanted, sample))
  return tuple(stage for stage in wanted if stage in drawn)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  return devices.comparable(one) == devices.comparable(other)


def closed(chosen: Iterable[stages.Stage]) -> tuple[stages.Stage, ...]:
  """Stages together with all that they stand on."""
  found = set()
  for stage in chosen:
    while stage is not None and stage not in found:
      found.add(stage)
      stage = stage.parent
  return tuple(sorted(found, key=lambda s: (s.depth, s.prefix, s.shard)))
