"""Panels as SVG inside a page: colors of the page, words for who cannot see."""

import math

import numpy as np

from unlearn_jax.study.report import html, picture
from unlearn_jax.study.report.html import Markup, tag

_WIDE = 6.1  # of a letter
_TOP, _BOTTOM, _RIGHT = 24, 40, 10


def figure(drawn: picture.Figure) -> Markup:
  """A figure: its key, its panels side by side, and its caption."""
  key = [
    tag('li', _sample(*look), f' {words}') for words, look in drawn.key.items()
  ]
  folded = drawn.panels[drawn.shown :] if drawn.shown else ()
  return tag(
    'figure',
    tag('ul', *key, class_='key') if key else None,
    _grid(drawn.panels[: drawn.shown]),
    tag('figcaption', drawn.caption),
    html.more(f'{len(folded)} more', _grid(folded)) if folded else None,
  )


def _grid(panels) -> Markup:
  least = min(shown.width for shown in panels)
  return tag(
    'div', *map(panel, panels), class_='panels', style=f'--least:{least}px'
  )


def panel(shown: picture.Panel) -> Markup:
  """One panel."""
  place = _Place(shown)
  parts = [tag('title', f'{shown.title}. {shown.about}')]
  bands = [m for m in shown.marks if isinstance(m, picture.Band)]
  parts += [_band(place, band) for band in bands]
  parts += _axes(place)
  for mark in shown.marks:
    if isinstance(mark, picture.Line):
      parts.append(_line(place, mark))
    elif isinstance(mark, picture.Dots):
      parts += _dots(place, mark)
  parts.append(_text(0, 12, shown.title, class_='title'))
  return tag(
    'svg',
    *parts,
    viewBox=f'0 0 {shown.width} {shown.height}',
    role='img',
    aria_label=f'{shown.title}. {shown.about}',
    style=f'width:clamp({0.8 * shown.width:.0f}px,100%,{1.2 * shown.width:.0f}px)',
  )


class _Place:
  """From values to places in the drawing."""

  def __init__(self, shown: picture.Panel):
    self.shown = shown
    self.domains = {a: picture.domain(shown, a) for a in 'xy'}
    self.ticks = {
      a: picture.ticks(getattr(shown, a), *self.domains[a]) for a in 'xy'
    }
    longest = max(map(len, self.ticks['y'].values()), default=0)
    self.left = 12 + _WIDE * longest + (14 if shown.y.label else 0)
    self.right, self.top = shown.width - _RIGHT, _TOP
    self.bottom = shown.height - _BOTTOM

  def at(self, along: str, values) -> np.ndarray:
    axis = getattr(self.shown, along)
    with np.errstate(divide='ignore', invalid='ignore'):
      moved = picture.moved(axis.scale, values)
    low, high = self.domains[along]
    part = np.clip((moved - low) / (high - low), 0, 1)
    if along == 'x':
      return self.left + part * (self.right - self.left)
    if axis.down:
      part = 1 - part
    return self.bottom - part * (self.bottom - self.top)


def _axes(place: _Place) -> list[Markup]:
  parts, shown = [], place.shown
  for value, words in place.ticks['x'].items():
    x = float(place.at('x', value))
    parts.append(_stroke(x, place.top, x, place.bottom))
    parts.append(
      _text(x, place.bottom + 14, words, text_anchor='middle', class_='quiet')
    )
  for value, words in place.ticks['y'].items():
    y = float(place.at('y', value))
    parts.append(_stroke(place.left, y, place.right, y))
    parts.append(
      _text(
        place.left - 6,
        y + 4,
        words,
        text_anchor='end',
        class_=None if shown.y.ticks else 'quiet',
      )
    )
  middle = (place.left + place.right) / 2
  parts.append(
    _text(middle, shown.height - 8, shown.x.label, text_anchor='middle')
  )
  if shown.y.label:
    y = (place.top + place.bottom) / 2
    parts.append(
      tag(
        'text',
        shown.y.label,
        transform=f'translate(10 {y:.0f}) rotate(-90)',
        text_anchor='middle',
      )
    )
  return parts


def _band(place: _Place, band: picture.Band) -> Markup:
  low, high = sorted(place.at(band.along, [band.low, band.high]))
  size = max(high - low, 1.5)
  box = {'x': place.left, 'width': place.right - place.left}
  box |= {'y': place.top, 'height': place.bottom - place.top}
  box |= (
    {'x': low, 'width': size}
    if band.along == 'x'
    else {'y': low, 'height': size}
  )
  return tag('rect', class_='floor', **{k: f'{v:.1f}' for k, v in box.items()})


def _line(place: _Place, line: picture.Line) -> Markup:
  points = [
    f'{x:.1f},{y:.1f}'
    for x, y in zip(place.at('x', line.x), place.at('y', line.y), strict=True)
    if math.isfinite(x) and math.isfinite(y)
  ]
  return tag(
    'polyline',
    points=' '.join(points),
    fill=f'var(--{line.tone})' if line.filled else 'none',
    fill_opacity='.25' if line.filled else None,
    stroke=f'var(--{line.tone})',
    stroke_width='1.8',
    stroke_dasharray='5 3' if line.dashed else None,
    stroke_linejoin='round',
  )


def _dots(place: _Place, dots: picture.Dots) -> list[Markup]:
  xs, ys = place.at('x', dots.x), place.at('y', dots.y)
  parts = []
  for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
    if not (math.isfinite(x) and math.isfinite(y)):
      continue
    inner = []
    for along in 'xy':
      reach = getattr(dots, f'{along}_range')
      if reach is not None and np.isfinite(reach[i]).all():
        low, high = place.at(along, reach[i])
        ends = (low, y, high, y) if along == 'x' else (x, low, x, high)
        inner.append(_stroke(*ends, stroke=f'var(--{dots.tone})', width=1.5))
    inner += _mark(
      x, y, dots.shape, dots.tone, dots.inside[i] if dots.inside else ''
    )
    if dots.names:
      inner.append(tag('title', dots.names[i]))
    parts.append(tag('g', *inner))
  return parts


def _mark(x, y, shape: str, tone: str, inside: str) -> list[Markup]:
  """A dot, larger where something stands inside it."""
  if not inside:
    return [_shape(x, y, shape, tone, 4)]
  fill = f'fill:var(--{tone})' if shape in picture.HOLLOW else None
  words = _text(
    x, y + 3.2, inside, class_='inside', text_anchor='middle', style=fill
  )
  return [_shape(x, y, shape, tone, 7.5), words]


def _shape(x, y, shape: str, tone: str, r: float) -> Markup:
  fill = {'fill': f'var(--{tone})', 'stroke': 'var(--paper)'}
  if shape in picture.HOLLOW:
    fill = {'fill': 'var(--paper)', 'stroke': f'var(--{tone})'}
    shape, r = picture.HOLLOW[shape], r - 0.5  # a stroke is seen on both sides
  if shape == 'circle':
    return tag('circle', cx=f'{x:.1f}', cy=f'{y:.1f}', r=r, **fill)
  corners = {
    'square': [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    'diamond': [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
    'triangle': [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
  }[shape]
  points = ' '.join(f'{x + r * a:.1f},{y + r * b:.1f}' for a, b in corners)
  return tag('polygon', points=points, **fill)


def _sample(tone: str, shape: str, inside: str = '') -> Markup:
  """What a key shows beside its words."""
  if inside:
    drawn = _mark(14, 10, shape, tone, inside)
    return tag('svg', *drawn, viewBox='5 1 18 18', aria_hidden='true')
  if shape == 'band':
    drawn = tag('rect', class_='floor', x=2, y=1, width=24, height=12)
  elif shape in ('line', 'dashed'):
    drawn = _stroke(
      2,
      7,
      26,
      7,
      stroke=f'var(--{tone})',
      width=2.5,
      stroke_dasharray='5 3' if shape == 'dashed' else None,
    )
  else:
    drawn = _shape(14, 7, shape, tone, 5)
  return tag('svg', drawn, viewBox='0 0 28 14', aria_hidden='true')


def _stroke(x1, y1, x2, y2, *, stroke=None, width=None, **more) -> Markup:
  places = {'x1': x1, 'y1': y1, 'x2': x2, 'y2': y2}
  return tag(
    'line',
    class_=None if stroke else 'grid',
    stroke=stroke,
    stroke_width=width,
    **{k: f'{v:.1f}' for k, v in places.items()},
    **more,
  )


def _text(x, y, words: str, **more) -> Markup:
  return tag('text', words, x=f'{x:.1f}', y=f'{y:.1f}', **more)
