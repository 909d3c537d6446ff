"""What was measured of one layout: its steps, its stages, what it is worth.

A profile is plain JSON. It is measured on a system that was really trained, and
of another number of shards or slices it says nothing: that is another profile.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unlearn_jax import errors, registry


def mixtures(shards: int, slices: int) -> list[tuple[int, ...]]:
  """Depths that shards may serve at, deepest first, whichever shard it is."""
  depths = range(slices, -1, -1)
  found = itertools.combinations_with_replacement(depths, shards)
  return [mixture for mixture in found if any(mixture)]


def key(depths: Sequence[int]) -> str:
  """What a mixture is called in a profile."""
  return ' '.join(map(str, sorted(depths, reverse=True)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
  """The facts that predictions stand on.

  Attributes:
    name: what a person calls it.
    shards, slices, batch_size, epochs: of the recipe.
    examples: rows that it was measured on.
    step_seconds: [slices] of one step at depth 1, 2, ..
    repair_seconds: of a repair of one shard beside its steps; it is taken to
      come before them.
    shard_seconds: more than that for each further shard of the same repair.
    stage_bytes: [slices] on disk of one stage at depth 1, 2, ..
    accuracy: on the test split, of all that may serve: '4 4 1 0' is of two
      shards at depth 4, one at depth 1 and one that is dead.
    measured: the command, the machine, whatever else should be known.
  """

  name: str
  shards: int
  slices: int
  batch_size: int
  epochs: int
  examples: int
  step_seconds: Sequence[float]
  repair_seconds: float
  shard_seconds: float
  stage_bytes: Sequence[float]
  accuracy: Mapping[str, float]
  measured: Any = ''

  def __post_init__(self):
    for name in ('shards', 'slices', 'batch_size', 'epochs', 'examples'):
      value = getattr(self, name)
      if not isinstance(value, int) or value < 1:
        raise self._wrong(f'{name} is a whole number >= 1, got {value!r}')
    for name in ('step_seconds', 'stage_bytes'):
      values = getattr(self, name)
      if len(values) != self.slices:
        raise self._wrong(
          f'{name} is {self.slices} numbers, one a depth, got {list(values)}'
        )
      self._check_all(name, values, most=math.inf)
    for name in ('repair_seconds', 'shard_seconds'):
      value = getattr(self, name)
      if not 0 <= value < math.inf:
        raise self._wrong(f'{name} is >= 0, got {value!r}')
    wanted = {key(depths) for depths in mixtures(self.shards, self.slices)}
    differing = wanted ^ set(self.accuracy)
    if differing:
      raise self._wrong(
        f'accuracy is of every mixture of depths, {len(wanted)} of them; wrong '
        f'or missing: {sorted(differing)[:3]}'
      )
    self._check_all('accuracy', self.accuracy.values(), most=1.0)

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> 'Profile':
    """A profile from a plain dict; a field it does not have is refused."""
    registry.check_arguments(cls, 'field of a profile', values)
    return cls(**values)

  def steps(self, rows: int) -> int:
    """Of a stage that trains on `rows`; its last batch may be padded."""
    return self.epochs * -(-rows // self.batch_size)

  def seconds(self, depth: int, rows: int) -> float:
    """That a stage of this depth trains."""
    return self.step_seconds[depth - 1] * self.steps(rows)

  def before_steps(self, shards: int) -> float:
    """Seconds that a repair of so many shards takes before its first step."""
    return self.repair_seconds + (shards - 1) * self.shard_seconds

  def worth(self, depths: Sequence[int]) -> float | None:
    """Accuracy when shards serve at `depths`; None: none of them does."""
    return self.accuracy[key(depths)] if any(depths) else None

  def _check_all(self, name: str, values: Iterable[float], most: float) -> None:
    wrong = [v for v in values if not 0 < v <= most or v == math.inf]
    if wrong:
      raise self._wrong(f'{name} is above 0 and up to {most}, got {wrong[:3]}')

  def _wrong(self, what: str) -> errors.ConfigError:
    return errors.ConfigError(f'profile {self.name!r}: {what}')
