"""Two things timed in turn, so that what disturbs one disturbs the other.

Absolute times of a shared machine say little. A ratio of two runs that stood
next to each other says more, and the median of several such ratios most.
"""

import operator
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_TESTS = {'<=': operator.le, '>=': operator.ge}


class Row(NamedTuple):
  """One line of the table."""

  what: str
  value: float  # a median, or a percentile that `what` names
  low: float  # quartiles, or what `what` says
  high: float
  unit: str  # 'x' is a ratio
  baseline: str  # what a ratio is against; '' for a time
  target: str = ''  # such as '<= 1.15'
  details: dict[str, Any] = {}

  @property
  def met(self) -> bool | None:
    """Whether the value is within its target; None without one."""
    if not self.target:
      return None
    test, bound = self.target.split()
    return bool(_TESTS[test](self.value, float(bound)))


class Times(NamedTuple):
  """Seconds of two things, [pairs] each, in the order they were run."""

  first: np.ndarray
  second: np.ndarray

  def row(
    self, what: str, baseline: str, target: str = '', **details: Any
  ) -> Row:
    """The ratio first / second as a line of the table."""
    low, value, high = np.percentile(self.first / self.second, [25, 50, 75])
    medians = {
      'seconds': float(np.median(self.first)),
      'baseline_seconds': float(np.median(self.second)),
      'pairs': len(self.first),
    }
    return Row(
      what, value, low, high, 'x', baseline, target, {**medians, **details}
    )


def measure(
  first: Callable[[], Any], second: Callable[[], Any], pairs: int
) -> Times:
  """Times both, in turn; which goes first alternates.

  Each has to return when its work is done, and to have run once before if it
  compiles.
  """
  seconds = np.zeros((2, pairs))
  for pair in range(pairs):
    for which in (0, 1) if pair % 2 == 0 else (1, 0):
      seconds[which, pair] = clock((first, second)[which])
  return Times(*seconds)


def clock(act: Callable[[], Any]) -> float:
  """Seconds that a call takes."""
  began = time.perf_counter()
  act()
  return time.perf_counter() - began


def spread(values, unit: str, what: str, percentiles, **kwargs: Any) -> Row:
  """A line from single times: `percentiles` are (low, value, high)."""
  low, value, high = np.percentile(values, percentiles)
  return Row(what, value, low, high, unit, '', **kwargs)
