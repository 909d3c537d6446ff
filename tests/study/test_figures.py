"""Pictures are drawn of whatever a study has found, and tell rows apart."""

import matplotlib.colors
import numpy as np
import pytest

from unlearn_jax.study import figures

METHODS = [f'method {i}' for i in range(12)]


def _is_picture(path):
  return path.read_bytes()[1:4] == b'PNG'


def test_margins_of_points(tmp_path):
  draw = np.random.default_rng(0).normal
  found = {
    name: draw(size=(2, 9)).tolist()
    for name in ('oracles', 'do nothing', 'fresh oracles', 'mine')
  }
  figures.margins({'a': found, 'b': found}, tmp_path / 'm.png', ['mine'])
  assert _is_picture(tmp_path / 'm.png')


def test_klom_of_every_method(tmp_path):
  curves = {
    row: {split: np.linspace(0, 11, 101).tolist() for split in ('x', 'y')}
    for row in ('fresh oracles', 'do nothing', *METHODS)
  }
  figures.klom({'one': curves, 'two': curves}, tmp_path / 'k.png')
  assert _is_picture(tmp_path / 'k.png')


def test_no_two_lines_look_the_same():
  styles = figures._styles(METHODS)
  looks = {(s['color'], s.get('linestyle', '-')) for s in styles.values()}
  assert len(looks) == len(styles) == len(METHODS) + 2


@pytest.mark.parametrize('color', figures._OTHERS)
def test_lines_stand_out_from_paper_and_from_the_framing_rows(color):
  red, green, blue = matplotlib.colors.to_rgb(color)
  luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
  assert luminance < 0.75
  assert color not in figures._FIXED.values()
