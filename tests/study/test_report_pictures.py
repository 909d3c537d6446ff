"""What a person must see in the pictures of systems, plans and live streams."""

import json
import re
import shutil

import numpy as np
import pytest

from tests.exact import tiny
from unlearn_jax import operations, tour
from unlearn_jax.study.report import (
  of_live,
  of_plan,
  page,
  picture,
  svg,
  system_plots,
)

RECIPE = {**tiny.DIGITS, 'sequences': {'kind': 'cyclic', 'budget': 2}}


@pytest.fixture(scope='module')
def toured(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tour') / 't'
  tour.run(RECIPE, str(folder))
  return folder, json.loads((folder / 'quickstart.json').read_text())


def test_a_tour_tells_which_stages_went_and_came(toured):
  _, found = toured
  train, deleted, repaired = (
    found['after'][step] for step in ('train', 'delete', 'repair')
  )
  every = set(train['there'])
  assert len(every) == found['stages'] == 8 and every == set(train['new'])
  gone = every - set(deleted['there'])
  assert 0 < len(gone) == found['stages_gone'] and not deleted['new']
  assert set(repaired['there']) == every and set(repaired['new']) == gone
  assert not gone & set(deleted['served'])


def test_the_page_of_a_tour_shows_the_stages_of_each_moment(toured):
  folder, found = toured
  text = _page(folder)
  gone = found['stages_gone']
  # One in the grid for each stage that went, and one in the key.
  assert text.count('>×</text>') == gone + 1
  assert '8 of 8 stages bit-equal' in text and '2. 3 examples' in text
  # Circles are what was trained again: the others are squares.
  (repaired,) = re.findall(r'<svg[^>]*aria-label="3\. .*?</svg>', text)
  assert repaired.count('<circle') == gone
  assert (folder / 'report' / 'stages.png').exists()


def test_a_system_that_was_used_since_is_shown_as_it_is(toured, tmp_path):
  folder = tmp_path / 't'
  shutil.copytree(toured[0], folder)
  gone = operations.delete(str(folder / 'system'), ids=['11'])['gone']
  text = _page(folder)
  assert '2. 3 examples' not in text
  assert f'{8 - len(gone)} of 8 stages are there' in text
  (now,) = re.findall(r'<svg[^>]*aria-label="Stages now.*?</svg>', text)
  assert now.count('>×</text>') == len(gone) > 0


def _page(folder):
  page.write(str(folder))
  return (folder / 'report.html').read_text()


def test_of_orders_that_begin_alike_a_shard_is_shown_to_serve_one():
  figure = system_plots.of_stages(
    [(0, 1, 2), (0, 2, 1)],
    1,
    [
      {
        'title': 'now',
        'below': '',
        'there': ['0:0'],
        'new': (),
        'served': ['0:0'],
      }
    ],
    'gone',
  )
  (panel,) = figure.panels
  (way,) = [mark for mark in panel.marks if isinstance(mark, picture.Line)]
  there, gone = [m for m in panel.marks if isinstance(m, picture.Dots)]
  assert max(way.x) < 2  # it ends before depth 2
  assert len(there.x) == 2 and len(gone.x) == 4


def test_a_request_that_waits_runs_to_the_edge():
  def request(seq, repaired):
    times = {'accepted': 10.0, 'deactivated': 10.5, 'repaired': repaired}
    erased = None if repaired is None else repaired + 0.1
    return {'seq': seq, 'kind': 'delete', 'count': 1, **times, 'erased': erased}

  figure = system_plots.timeline([request(1, 20.0), request(2, None)])
  (panel,) = figure.panels
  repaired, waiting = (
    mark for mark in panel.marks if isinstance(mark, picture.Line)
  )
  places = {words: shape for words, (_, shape) in figure.key.items()}
  assert max(repaired.x) == pytest.approx(10.1)
  assert max(waiting.x) > 2 * 10
  # Repaired and erased come together; neither hides the other.
  of = {m.shape: m for m in panel.marks if isinstance(m, picture.Dots)}
  assert of[places['repaired']].y[0] < of[places['erased']].y[0]
  assert len(of[places['not used any more']].x) == 2


def test_long_histories_are_cut_and_say_so():
  requests = [
    {
      'seq': i,
      'kind': 'delete',
      'count': 1,
      'accepted': 1.0 * i,
      'deactivated': i + 0.5,
      'repaired': None,
      'erased': None,
    }
    for i in range(100)
  ]
  figure = system_plots.timeline(requests)
  assert 'of 100 requests' in figure.caption
  assert figure.panels[0].height < 1200
  assert '99: delete 1' in figure.panels[0].y.ticks.values()


def test_depths_differ_by_shape_and_by_number():
  figure = system_plots.depths(
    [('train', [3, 3]), ('delete: 4 gone', [2, 0])], 3
  )
  of = {m.shape: m for m in figure.panels[0].marks}
  assert len(of) == 3 == len(figure.key)
  assert list(of['diamond'].inside) == ['2'] and list(of['gap'].inside) == ['×']


def _row(line, **means):
  row = {'line': line, 'choice': f'choice of {line}', 'bytes': 2e6}
  means = {'accuracy': 0.8, 'availability': 1.0, 'depth': 0.9, **means}
  for name in [*means, 'hours_a_served_request']:
    mean = means.get(name, 0.001)
    row[name] = {'mean': mean, 'low': mean, 'high': mean}
  return row


def test_numbers_of_a_plan_hide_none_of_each_other():
  names = ('a', 'b', 'c')
  found = {
    'rate': 1000.0,
    'requests': 10,
    'choices': [_row('', accuracy=0.7), _row('', accuracy=0.9)],
    'undominated': [1],
    'proposal': 1,
    'lines': [_row(name) for name in names],
  }
  level = {'accuracy': 0.75, 'availability': 0.0, 'depth': 0.0}
  (figure,) = of_plan.figures({'rates': [found], 'level': level})
  for panel in figure.panels:
    placed = re.findall(
      r'<text x="([0-9.]+)" y="[0-9.]+" class="inside"[^>]*>([123])<',
      svg.panel(panel),
    )
    places = np.sort([float(x) for x, _ in placed])
    assert len(placed) == 3 and np.diff(places).min() > 14
    # A line leads from each to where it belongs.
    ways = [m for m in panel.marks if isinstance(m, picture.Line)]
    starts = {m.x[0] for m in ways if not m.dashed}
    assert len(starts) == 1
  dashed = [
    [m.y[0] for m in panel.marks if getattr(m, 'dashed', False)]
    for panel in figure.panels
  ]
  assert dashed == [[75.0], [], []]


def test_every_line_of_a_live_stream_bears_its_number_where_it_runs():
  hours, never = [1.0, 2.0, 3.0, 4.0], ['NaN'] * 4
  lines = []
  for name, accuracy in (
    ('kept', [0.8] * 4),
    ('the same', [0.8] * 4),
    ('dead at once', never),
    ('dead soon', [0.8, 0.7, 'NaN', 'NaN']),
  ):
    curves = dict.fromkeys(('depth', 'availability'), {'mean': [0.5] * 4})
    curves['accuracy'] = {'mean': accuracy}
    lines.append(_row(name) | {'hours': hours, 'curves': curves})
  figure = of_live.over_time({'rate': 10.0, 'lines': lines})
  accuracy, depth, _ = (
    [m for m in panel.marks if isinstance(m, picture.Dots)]
    for panel in figure.panels
  )
  assert [m.inside[0] for m in accuracy] == ['1', '2', '4']
  assert accuracy[-1].x[0] <= 2.0 and accuracy[-1].y[0] in (70.0, 80.0)
  assert len({m.x[0] for m in depth}) == 4
  drawn = svg.figure(figure)
  assert drawn.count('class="inside"') == 3 + 4 + 4 + 4  # and the key
