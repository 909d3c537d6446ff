"""Measuring, planning and following a tiny system; predictions kept by it."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.exact import tiny
from tests.exact.test_events import profile
from unlearn_jax import errors, fields
from unlearn_jax.exact import demand, events, planner, stages
from unlearn_jax.exact import profile as profile_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.study import live, measuring, planning
from unlearn_jax.study.report import page

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = {
  **tiny.DIGITS,
  'sequences': {'kind': 'cyclic', 'budget': 2},
  'batch_size': 128,
}
LINES = {
  'ours': {'profile': 'by hand', 'budget': 2, 'policy': 'at once'},
  'collected': {
    'profile': 'by hand',
    'budget': 2,
    'policy': 'window',
    'hours': 2.0,
  },
  'never': {'profile': 'by hand', 'budget': 2, 'policy': 'never'},
  'retraining': {'profile': 'alone', 'budget': 1, 'policy': 'at once'},
}


def _settings(**changes):
  c = fields.plan_config().to_dict()
  made = [profile(2, 2), profile(1, 1, name='alone')]
  c['profiles'] = [vars(one) for one in made]
  c |= {'examples': 40, 'rates': (96.0,), 'requests': 12, 'streams': 4}
  c |= {'budgets': (1, 2), 'windows': (2.0,), 'lines': LINES}
  c['live'] |= {'rates': (96.0,), 'requests': 12, 'streams': 4, 'bins': 6}
  return c | changes


@pytest.fixture(scope='module')
def real(tmp_path_factory):
  folder = tmp_path_factory.mktemp('real')
  return live.real(
    RECIPE, str(folder / 'run'), requests=8, batches=(1, 4), seeds=(0,)
  )


def test_samples_and_depths_of_a_real_run_are_as_predicted(real):
  """Exactly, once it is known who asks; time is printed, and noise."""
  for row in real['rows']:
    assert row['samples']['predicted'] == row['samples']['measured'] > 0
    assert row['depths_equal'] == row['depths'] == 8
    assert row['repairs'] * row['batch'] == 8
    assert row['seconds_to_non_use'] < 5
    print(live.real_table([row]))


def test_what_is_expected_before_anybody_asks_is_near(real):
  """One request of two orders always redoes three stages of the four."""
  (row,) = [row for row in real['rows'] if row['batch'] == 1]
  expected, found = (
    row['expected_samples'][k] for k in ('predicted', 'measured')
  )
  assert expected == pytest.approx(found, rel=0.02)
  # (1 + 2 + 2) slices of 1437/4, less those who have gone on the way.
  assert expected == pytest.approx(8 * 5 * (1437 - 4.5) / 4, rel=1e-9)


def test_a_measured_profile_is_one(real):
  for clock in measuring.CLOCKS:
    of = profile_lib.Profile.from_json(real['rows'][0]['profiles'][clock])
    assert (of.shards, of.slices, of.examples) == (2, 2, 1437)
    assert set(of.accuracy) == {'2 2', '2 1', '2 0', '1 1', '1 0'}
    assert of.accuracy['2 2'] > 0.5
    assert min(of.stage_bytes) > 4 * 65 * 10  # the parameters at least


def test_paces_are_found_again_in_times_that_follow_them():
  """Repairs of known paces, noise in one of them."""
  recipe = recipe_lib.Recipe(data={}, model={}, slices=3, batch_size=10)
  pace, before, more, after = [2.0, 3.0, 5.0], 7.0, 0.5, 0.25

  def timed(shards, depths, rows, late=0.0):
    trained, seconds = [], [before + more * (shards - 1) + late]
    for depth in depths:
      for shard in range(shards):
        trained.append(stages.Stage(shard, tuple(range(depth))))
        seconds.append(pace[depth - 1] * rows / 10)
    seconds = [seconds[0] + seconds[1], *seconds[2:]]
    finished = np.cumsum(seconds).tolist()
    return measuring.Timed(
      tuple(trained),
      (rows,) * len(trained),
      {'wall': finished},
      {'wall': finished[-1] + after},
      0,
    )

  for rows in (30, 50):
    found = measuring.paces(
      [
        timed(1, (1, 2, 3), rows),
        timed(1, (2, 3), rows),
        timed(1, (3,), rows),
        timed(1, (2, 3), rows, late=90.0),
        timed(2, (2, 3), rows),
      ],
      recipe,
      'wall',
    )
    assert found['step_seconds'] == pytest.approx(pace)
    assert found['repair_seconds'] == pytest.approx(before + after)
    assert found['shard_seconds'] == pytest.approx(more)
  with pytest.raises(errors.DataError, match=r'at depth \[1\]'):
    measuring.paces([timed(1, (2, 3), 30)], recipe, 'wall')


def test_a_plan_is_made_kept_and_shown(tmp_path):
  summary = planning.run(_settings(depth=0.4), str(tmp_path))
  kept = json.loads((tmp_path / 'plan.json').read_text())
  (found,) = kept['rates']
  # Two profiles, their budgets, four policies.
  assert len(found['choices']) == (2 + 1) * 4
  best = found['choices'][found['proposal']]
  assert best['depth']['low'] >= 0.4
  assert found['proposal'] == planner.propose(
    found['choices'], planner.Level(depth=0.4)
  )
  assert [row['line'] for row in found['lines']] == list(LINES)
  for path in summary['pictures']:
    with open(path, 'rb') as file:
      assert file.read(4) == b'\x89PNG'
  what = planning.table(summary['rates'][0])
  assert what[0]['what'] == 'proposed' and len(what) == 5
  shown = page.write(str(tmp_path))
  assert shown['kind'] == 'plan' and best['choice'] in shown['lead'][0]
  assert 'retraining' in (tmp_path / 'report.html').read_text()


def test_no_choice_keeps_an_impossible_level(tmp_path):
  summary = planning.run(_settings(accuracy=0.99), str(tmp_path))
  assert summary['rates'][0]['proposal'] is None
  assert len(planning.table(summary['rates'][0])) == 4
  assert 'nothing' in page.write(str(tmp_path))['lead'][0]


def test_live_lines_are_those_of_the_events(tmp_path):
  settings = _settings()
  summary = live.run(settings, str(tmp_path))
  (found,) = json.loads((tmp_path / 'live.json').read_text())['rates']
  drawn = planner.streams(
    demand.Demand(examples=40, rate=96.0), requests=12, count=4, seed=0
  )
  edges = np.linspace(0, drawn[0].end, 7)
  for row in found['lines']:
    choice = planning.lines(settings)[row['line']]
    of = choice.profile
    each = []
    for stream in drawn:
      asked = stream.on(of.shards, of.slices)
      past = events.follow(of, choice.sequences, choice.policy, asked)
      each.append(past.means(lambda d: float(any(d)), edges))
    curve = row['curves']['availability']
    np.testing.assert_allclose(curve['mean'], np.mean(each, axis=0))
    whole = row['availability']['mean']
    assert np.mean(curve['mean']) == pytest.approx(whole)
  assert summary['real'] is None
  shown = page.write(str(tmp_path))
  up = [row for row in found['lines'] if row['availability']['mean'] >= 0.99]
  assert shown['kind'] == 'live' and 0 < len(up) < 4
  assert f'{len(up)} of 4 policies keep serving' in shown['lead'][0]
  assert len(shown['pictures']) == 1 and len(live.table(found['lines'])) == 4


def test_a_real_run_is_on_the_page_and_done_once(tmp_path, real, monkeypatch):
  asked = {'recipe': RECIPE, 'requests': 8, 'batches': (1, 4), 'seeds': (0,)}
  monkeypatch.setattr(live, 'real', lambda **unused: real)
  live.run(_settings(real=asked), str(tmp_path))
  monkeypatch.delattr(live, 'real')  # from here on it is read
  live.run(_settings(real=asked), str(tmp_path))
  shown = page.write(str(tmp_path))
  assert len(shown['pictures']) == 2
  words = (tmp_path / 'report.html').read_text()
  assert 'seed 0, 4 a repair' in words and '8 of 8' in words
  with pytest.raises(errors.WorkdirError, match='other settings'):
    live.run(_settings(real={**asked, 'requests': 4}), str(tmp_path))


@pytest.mark.parametrize(
  'change, words',
  [
    ({'profiles': []}, 'profiles: at least one'),
    ({'rates': ()}, 'rates: at least one'),
    ({'accuracy': 2.0}, 'accuracy is from 0 to 1, got 2.0'),
    ({'examples': 0}, 'examples is a whole number'),
    ({'windows': (0.0,)}, 'window of seconds'),
    ({'budgets': (0,)}, r'budgets .*\[0\]'),
    ({'lines': {'a': {'profile': 'x'}}}, "line 'a' lacks budget, policy"),
    ({'lines': {'a': {'shard': 1}}}, "field of line 'a' 'shard'"),
    (
      {'lines': {'a': {'profile': 'x', 'budget': 1, 'policy': 'never'}}},
      "unknown profile 'x'.*alone, by hand",
    ),
    (
      {'lines': {'a': {'profile': 'alone', 'budget': 2, 'policy': 'never'}}},
      'budget 2: 1 slices',
    ),
  ],
)
def test_wrong_settings_are_refused_before_anything_is_made(
  tmp_path, change, words
):
  with pytest.raises(errors.UnlearnError, match=words):
    planning.run(_settings(**change), str(tmp_path / 'new'))
  assert not (tmp_path / 'new').exists()


def test_a_wrong_flag_of_a_binary_is_one_line(tmp_path):
  for binary, flag, words in (
    ('plan', '--config.accuracy=2.0', 'ConfigError: accuracy is from 0 to 1'),
    (
      'live',
      '--config.live.bins=0',
      'ConfigError: live.bins is at least 1, got 0',
    ),
  ):
    config = f'--config={ROOT}/configs/plan_s3t_fashion.py:smoke'
    command = [f'{ROOT}/experiments/{binary}.py', config, flag]
    result = subprocess.run(
      [sys.executable, *command, f'--workdir={tmp_path}/new'],
      capture_output=True,
      text=True,
    )
    assert result.returncode == 1 and words in result.stderr
    assert 'Traceback' not in result.stderr
    assert not (tmp_path / 'new').exists()


def test_wrong_real_runs_are_refused(tmp_path):
  with pytest.raises(errors.ConfigError, match='8 requests are no multiple'):
    live.real(RECIPE, str(tmp_path), requests=8, batches=(3,), seeds=(0,))
  twice = _settings()['profiles'][:1] * 2
  with pytest.raises(errors.ConfigError, match="two .* called 'by hand'"):
    planning.profiles({'profiles': twice})
