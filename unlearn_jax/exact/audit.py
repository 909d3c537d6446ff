"""Rebuilds stages in a clean room and compares them bit for bit.

The clean room shares nothing with the system but the recipe, the salt and a
data set: its own records, names and program. A stage passes when it has the
name that the clean data make and the digest that was recorded for it. Stages
made under another fingerprint (version, machine, flags) are not compared: that
is said, not hoped away.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from unlearn_jax import devices, trees, types
from unlearn_jax.exact import builder as builder_lib
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import stages

LEVELS = ('E1', 'E2')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """What an audit found; stages by their text."""

  level: str
  checked: int
  equal: int
  different: tuple[str, ...]  # same name, other bits
  missing: tuple[str, ...]  # should exist and do not
  other_name: tuple[str, ...]  # not what the clean data would make
  incomparable: tuple[str, ...]  # made under another fingerprint

  @property
  def passed(self) -> bool:
    return self.equal == self.checked


def audit(
  *,
  level: str,
  recipe: recipe_lib.Recipe,
  salt: bytes,
  data: types.Dataset,
  wanted: Sequence[stages.Stage],
  facts: Mapping[stages.Stage, Mapping[str, Any]],
  names: Mapping[stages.Stage, str],
  report: Callable[[int, int], None] | None = None,
) -> Report:
  """Rebuilds `wanted` from `data` alone.

  Args:
    level: only named in the report.
    recipe: of the system.
    salt: of its Merkle leaves.
    data: everything the system should have been trained on, and nothing else.
    wanted: the stages to rebuild, with all that they stand on.
    facts: what is recorded beside the stages that exist.
    names: what the system calls its stages.
    report: is told after each stage how many are done, and of how many.
  """
  records = records_lib.Records(
    recipe, salt, data.ids, data.owners, data.content_digests()
  )
  roots, digest = records.roots(), recipe.digest(data)
  clean = {stage: stages.name(digest, stage, roots) for stage in wanted}
  here = devices.comparable(devices.fingerprint())
  outcome: dict[stages.Stage, str] = {}

  def compare(stage, state):
    outcome[stage] = _compare(stage, trees.digest(program.own(stage, state)))
    if report:
      report(len(outcome), len(wanted))

  def _compare(stage, found):
    if stage not in facts:
      return 'missing'
    if names[stage] != clean[stage]:
      return 'other_name'
    if devices.comparable(facts[stage]['fingerprint']) != here:
      return 'incomparable'
    return 'equal' if facts[stage]['digest'] == found else 'different'

  program = program_lib.Program(recipe, data)
  largest = int(records.counts().sum(axis=1).max(initial=1))
  builder = builder_lib.Builder(
    program, records, data, capacity=program_lib.capacity_for(largest)
  )
  builder.build(wanted, lambda stage: None, compare)

  def with_outcome(kind):
    return tuple(str(s) for s in wanted if outcome[s] == kind)

  return Report(
    level=level,
    checked=len(wanted),
    equal=len(with_outcome('equal')),
    different=with_outcome('different'),
    missing=with_outcome('missing'),
    other_name=with_outcome('other_name'),
    incomparable=with_outcome('incomparable'),
  )


def closed(chosen: Iterable[stages.Stage]) -> tuple[stages.Stage, ...]:
  """Stages together with all that they stand on."""
  found = set()
  for stage in chosen:
    while stage is not None and stage not in found:
      found.add(stage)
      stage = stage.parent
  return tuple(sorted(found, key=lambda s: (s.depth, s.prefix, s.shard)))
