"""What was measured of one layout: its steps, its stages, what it is worth.

A profile is plain JSON. It is measured on a system that was really trained, and
of another number of shards or slices it says nothing: that is another profile.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_jax import errors, registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
  """The facts that predictions stand on.

  Attributes:
    name: what a person calls it.
    shards, slices, batch_size, epochs: of the recipe.
    examples: rows that it was measured on.
    step_seconds: [slices] of one step at depth 1, 2, ..
    repair_seconds: from the call to the first step of a repair.
    stage_bytes: [slices] on disk of one stage at depth 1, 2, ..
    accuracy: [shards][slices] on the test split when 1, 2, .. shards answer,
      all of them at depth 1, 2, ..
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
  stage_bytes: Sequence[float]
  accuracy: Sequence[Sequence[float]]
  measured: Any = ''

  def __post_init__(self):
    for name in ('shards', 'slices', 'batch_size', 'epochs', 'examples'):
      value = getattr(self, name)
      if not isinstance(value, int) or value < 1:
        raise self._wrong(f'{name} is a whole number >= 1, got {value!r}')
    for name in ('step_seconds', 'stage_bytes'):
      self._check(name, getattr(self, name), above=0.0)
    if not 0 <= self.repair_seconds < math.inf:
      raise self._wrong(f'repair_seconds is >= 0, got {self.repair_seconds!r}')
    if len(self.accuracy) != self.shards:
      raise self._wrong(
        f'accuracy has a row for 1 to {self.shards} shards, got '
        f'{len(self.accuracy)} rows'
      )
    for row in self.accuracy:
      self._check('accuracy', row, most=1.0)

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

  def worth(self, depths: Sequence[int]) -> float | None:
    """Expected accuracy when shards serve at `depths`; None: none answers.

    Only equal depths were measured; others are taken for the mean of these.
    """
    alive = [depth for depth in depths if depth]
    if not alive:
      return None
    row = self.accuracy[len(alive) - 1]
    return sum(row[depth - 1] for depth in alive) / len(alive)

  def _check(self, name, values, above=-math.inf, most=math.inf) -> None:
    right = len(values) == self.slices and all(
      above < value <= most and math.isfinite(value) for value in values
    )
    if not right:
      bounds = f'above {above}' if above > -math.inf else f'up to {most}'
      raise self._wrong(
        f'{name} is {self.slices} numbers {bounds}, one a depth, got '
        f'{list(values)}'
      )

  def _wrong(self, what: str) -> errors.ConfigError:
    return errors.ConfigError(f'profile {self.name!r}: {what}')
