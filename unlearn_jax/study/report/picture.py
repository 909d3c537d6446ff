"""Pictures as data: panels, axes and marks, drawn by `svg.py` and `png.py`."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

_LEAST = 1e-9  # of what is shown by its logarithm

HOLLOW = {'ring': 'circle', 'gap': 'square'}  # what each is the outline of

Values = Sequence[float] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Axis:
  """One direction of a panel; `ticks` {place: words} for what has names."""

  label: str = ''
  scale: str = 'linear'  # or 'log', or 'signed': a logarithm both ways
  ticks: Mapping[float, str] | None = None
  down: bool = False  # grows downwards, as a list does


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
  """A line through points; `filled` to the bottom of the panel."""

  x: Values
  y: Values
  tone: str = 'ink'
  dashed: bool = False
  filled: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dots:
  """Points; intervals [n, 2], words of each, and what stands inside it."""

  x: Values
  y: Values
  x_range: Sequence | None = None
  y_range: Sequence | None = None
  names: Sequence[str] = ()
  inside: Sequence[str] = ()
  tone: str = 'ink'
  shape: str = 'circle'  # or 'square', 'diamond', 'triangle'; or of `HOLLOW`


@dataclasses.dataclass(frozen=True)
class Band:
  """Where noise reaches, across the whole panel."""

  low: float
  high: float
  along: str = 'x'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
  """One small picture, and what it shows in words."""

  title: str
  about: str
  marks: Sequence[Line | Dots | Band]
  x: Axis = Axis()
  y: Axis = Axis()
  width: int = 360
  height: int = 240


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
  """Panels under one name, which is that of its file too.

  `shown` of them are seen at once, all where it is None; a page folds away the
  others. `key` is {words: (tone, shape)}, with what stands inside as a third.
  """

  name: str
  caption: str
  panels: Sequence[Panel]
  key: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  shown: int | None = None


def scale_for(values: Values) -> str:
  """What shows small and large ones together."""
  found = np.asarray([v for v in values if math.isfinite(v)], float)
  size = np.abs(found[found != 0])
  if len(size) < 2 or size.max() / np.median(size) < 10:
    return 'linear'
  return 'log' if (found > 0).all() else 'signed'


def moved(scale: str, values: Values) -> np.ndarray:
  """Values as distances along an axis."""
  values = np.asarray(values, float)
  if scale == 'log':
    return np.log10(np.maximum(values, _LEAST))
  if scale == 'signed':
    return np.sign(values) * np.log10(1 + np.abs(values))
  return values


def back(scale: str, places: Values) -> np.ndarray:
  """The inverse of `moved`."""
  places = np.asarray(places, float)
  if scale == 'log':
    return 10.0**places
  if scale == 'signed':
    return np.sign(places) * (10.0 ** np.abs(places) - 1)
  return places


def domain(panel: Panel, along: str) -> tuple[float, float]:
  """Where an axis begins and ends, as distances."""
  axis, values = getattr(panel, along), []
  for mark in panel.marks:
    if isinstance(mark, Band):
      values += [mark.low, mark.high] if mark.along == along else []
    else:
      values += list(getattr(mark, along))
      values += list(np.ravel(getattr(mark, f'{along}_range', None) or ()))
  values += list(axis.ticks or ())
  found = np.asarray([v for v in values if math.isfinite(v)], float)
  if axis.scale == 'log':
    found = found[found > 0]
  if not len(found):
    return 0.0, 1.0
  low, high = moved(axis.scale, [found.min(), found.max()])
  pad = (0.5 if axis.ticks else 0.06 * (high - low)) or 0.5
  return float(low - pad), float(high + pad)


def ticks(axis: Axis, low: float, high: float) -> dict[float, str]:
  """Places to name between two distances, as values."""
  if axis.ticks is not None:
    return dict(axis.ticks)
  if axis.scale == 'linear':
    step = _nice((high - low) / 5)
    first = math.ceil(low / step)
    found = [i * step for i in range(first, math.floor(high / step) + 1)]
  else:
    found = [
      sign * digit * 10.0**power
      for power in range(-6, 7)
      for digit in (1, 3)
      for sign in ((1,) if axis.scale == 'log' else (1, -1))
    ]
    if axis.scale == 'signed':
      found = [0.0] + [v for v in found if abs(v) >= 1]
    found = [v for v in found if low <= moved(axis.scale, v) <= high]
    found = found if len(found) < 7 else [v for v in found if _is_power(v)]
  return {value: f'{value:.6g}'.replace('-', '−') for value in sorted(found)}


def _is_power(value: float) -> bool:
  return not value or math.log10(abs(value)) % 1 < 1e-9


def _nice(step: float) -> float:
  """The next step that people count in."""
  power = 10.0 ** math.floor(math.log10(step))
  return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= step * 0.99)
