"""The same panels as PNG, for papers and slides."""

import functools
import pathlib

import numpy as np

from unlearn_jax.study.report import picture, style

_MARKERS = {'circle': 'o', 'square': 's', 'diamond': 'D', 'triangle': '^'}
_MARKERS |= {name: _MARKERS[of] for name, of in picture.HOLLOW.items()}
_COLUMNS, _INCH = 4, 85  # panels in a row; units of a panel


def save(drawn: picture.Figure, path: pathlib.Path) -> None:
  """Draws a figure, its panels in rows."""
  # Here, not above: it takes half a second to import.
  from matplotlib import figure

  count = len(drawn.panels)
  columns = min(count, _COLUMNS)
  rows = -(-count // columns)
  width = max(panel.width for panel in drawn.panels) / _INCH
  height = max(panel.height for panel in drawn.panels) / _INCH
  made = figure.Figure(
    figsize=(columns * width, rows * height + 0.4), layout='constrained'
  )
  places = made.subplots(rows, columns, squeeze=False).ravel()
  for place, panel in zip(places, drawn.panels, strict=False):
    _draw(place, panel)
  for place in places[count:]:
    place.set_axis_off()
  handles = [_sample(*of[:2]) for of in drawn.key.values()]
  if handles:
    named = [' '.join([*of[2:], words]) for words, of in drawn.key.items()]
    wide = 5 * max(map(len, named)) + 30  # points, of the widest
    made.legend(
      handles,
      named,
      loc='outside lower center',
      ncols=max(1, min(_COLUMNS, int(72 * columns * width / wide))),
      fontsize=8,
    )
  made.savefig(path, dpi=130)


def _draw(place, panel: picture.Panel) -> None:
  place.set_title(panel.title, fontsize=9)
  place.grid(color='#dde1e6', linewidth=0.6)
  place.set_axisbelow(True)
  for mark in panel.marks:
    if isinstance(mark, picture.Band):
      span = place.axvspan if mark.along == 'x' else place.axhspan
      span(mark.low, mark.high, color=_color('grey'), alpha=0.22)
    elif isinstance(mark, picture.Line):
      _line(place, mark)
    else:
      _dots(place, mark)
  for along in 'xy':
    _axis(place, panel, along)


def _axis(place, panel: picture.Panel, along: str) -> None:
  axis, (low, high) = getattr(panel, along), picture.domain(panel, along)
  if axis.scale != 'linear':
    there, back = (
      functools.partial(f, axis.scale) for f in (picture.moved, picture.back)
    )
    getattr(place, f'set_{along}scale')('function', functions=(there, back))
  named = picture.ticks(axis, low, high)
  getattr(place, f'set_{along}ticks')(list(named), list(named.values()))
  ends = picture.back(axis.scale, [low, high])
  getattr(place, f'set_{along}lim')(ends[::-1] if axis.down else ends)
  getattr(place, f'set_{along}label')(axis.label, fontsize=8)
  place.tick_params(labelsize=7, length=0)


def _line(place, line: picture.Line) -> None:
  style_of = '--' if line.dashed else '-'
  place.plot(line.x, line.y, style_of, color=_color(line.tone), linewidth=1.4)
  if line.filled:
    place.fill_between(
      line.x, line.y, color=_color(line.tone), alpha=0.25, linewidth=0
    )


def _dots(place, dots: picture.Dots) -> None:
  color = _color(dots.tone)
  ends = {}
  for along in 'xy':
    reach = getattr(dots, f'{along}_range')
    if reach is not None:
      middle = np.asarray(getattr(dots, along), float)
      low, high = np.asarray(reach, float).T
      ends[f'{along}err'] = np.maximum([middle - low, high - middle], 0)
  place.errorbar(
    dots.x,
    dots.y,
    fmt=_MARKERS[dots.shape],
    color=color,
    markersize=10 if dots.inside else 4.5,
    elinewidth=1.2,
    **_face(dots.shape, color),
    **ends,
  )
  tone = color if dots.shape in picture.HOLLOW else 'white'
  for x, y, words in zip(dots.x, dots.y, dots.inside, strict=False):
    place.text(x, y, words, ha='center', va='center', color=tone, fontsize=6)


def _face(shape: str, color: str) -> dict[str, str]:
  """How a marker is filled and bordered."""
  if shape in picture.HOLLOW:
    return {'markerfacecolor': 'white', 'markeredgecolor': color}
  return {'markeredgecolor': 'white'}


def _sample(tone: str, shape: str):
  from matplotlib import lines, patches

  color = _color(tone)
  if shape == 'band':
    return patches.Patch(color=_color('grey'), alpha=0.22)
  if shape in ('line', 'dashed'):
    return lines.Line2D([], [], color=color, ls='--' * (shape != 'line') or '-')
  face = _face(shape, color)
  return lines.Line2D(
    [], [], color=color, marker=_MARKERS[shape], ls='', **face
  )


def _color(tone: str) -> str:
  return style.TONES[tone][0]
