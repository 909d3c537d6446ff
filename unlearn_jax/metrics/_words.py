"""What the metrics share: a value with its interval, and checked arrays.

Arrays of margins are [models, points]: one row a model, one column an example.
"""

from typing import NamedTuple

import numpy as np

from unlearn_jax import errors

MARGIN_LIMIT = 100.0  # beyond it a margin says only "certain"
COVERAGE = 0.95  # of every interval


class Interval(NamedTuple):
  """A number and the range it is known to."""

  value: float
  low: float
  high: float


def spread(value: float, deviation: float) -> Interval:
  """The interval of a number with a normal error of that deviation."""
  reach = 1.96 * float(deviation)
  return Interval(float(value), float(value) - reach, float(value) + reach)


def percentile(value: float, draws) -> Interval:
  """The interval that holds the middle of bootstrap `draws`."""
  tail = 50 * (1 - COVERAGE)
  low, high = np.percentile(draws, [tail, 100 - tail])
  return Interval(float(value), float(low), float(high))


def numbers(name: str, array, ndim: int, *, finite=False) -> np.ndarray:
  """`array` as it is, if it has `ndim` axes, none empty, and no NaN."""
  array = np.asarray(array)
  if array.ndim != ndim or 0 in array.shape or array.dtype.kind not in 'fiu':
    raise errors.DataError(
      f'{name} must be numbers with {ndim} axes, none empty; got '
      f'{array.dtype} {array.shape}'
    )
  bad = ~np.isfinite(array) if finite else np.isnan(array)
  if bad.any():
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    raise errors.DataError(
      f'{name} holds {bad.sum()} NaN{" or inf" if finite else ""}, the first '
      f'at {first}'
    )
  return array


def flags(name: str, array, shape: tuple[int, ...]) -> np.ndarray:
  """`array` of exactly that shape, if it is of booleans."""
  array = np.asarray(array)
  if array.dtype != bool or array.shape != shape:
    raise errors.DataError(
      f'{name} must be bool {shape}, got {array.dtype} {array.shape}'
    )
  return array


def at_least(what: str, value: int, least: int) -> None:
  """Refuses a count too small to say anything."""
  if value < least:
    raise errors.DataError(f'{what} must be at least {least}, got {value}')
