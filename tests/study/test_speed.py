"""Benchmarks: what they hand back, and that all of them can be named."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.study.speed import pairs, run, systems

ROOT = pathlib.Path(__file__).parents[2]


def test_pairs_take_turns_and_ratios_are_of_pairs():
  calls = []
  pairs.measure(lambda: calls.append('a'), lambda: calls.append('b'), 3)
  assert ''.join(calls) == 'abbaab'
  times = pairs.Times(np.array([1.0, 4.0, 9.0]), np.array([1.0, 2.0, 3.0]))
  row = times.row('a / b', 'b', '<= 1.5', rows=3)
  assert (row.low, row.value, row.high) == (1.5, 2.0, 2.5)
  assert row.met is False and row.details['rows'] == 3
  assert times.row('a / b', 'b', '>= 1.5').met is True
  assert times.row('a / b', 'b').met is None


def test_a_run_is_shown_and_kept(tmp_path):
  workdir = tmp_path / 'speed'
  summary = run.run(['scale'], str(workdir), recipe={}, quick=True)
  kept = json.loads((workdir / 'speed.json').read_text())
  assert kept['quick'] is True and kept['fingerprint']['cores'] >= 1
  assert list(kept['benchmarks']) == ['scale']
  assert 0.05 < kept['peak_memory_gib']['scale'] < 4
  for row in kept['benchmarks']['scale']:
    assert 0 < row['low'] <= row['value'] <= row['high']
    assert set(row) == {*pairs.Row._fields, 'met'}
  assert list(workdir.iterdir()) == [workdir / 'speed.json']
  shown = run.table(summary)
  assert 'open: read' in shown and 'most memory' in shown


def test_what_goes_wrong_in_a_benchmark_is_told(tmp_path):
  data = {'name': 'fashion_mnist', 'folder': 'nowhere', 'rows': 9}
  with pytest.raises(errors.DataNotFound, match='nowhere'):
    run._apart('storage', tmp_path, True, {'data': data, 'model': {}})


def test_planning_is_measured_against_bare_hashing(tmp_path):
  seconds, ratio = systems.planning(tmp_path, True, batch=100)
  assert '100 of 200 ids' in seconds.what and seconds.target == '<= 2'
  assert ratio.value > 1


def test_an_unknown_benchmark_is_refused_before_anything_runs(tmp_path):
  with pytest.raises(errors.UnlearnError, match='planing.*planning'):
    run.run(['storage', 'planing'], str(tmp_path / 'new'), recipe={})
  assert not (tmp_path / 'new').exists()


def test_help_names_every_benchmark():
  binary = ROOT / 'experiments' / 'speed.py'
  result = subprocess.run(
    [sys.executable, binary, '--help'], capture_output=True, text=True
  )
  text = ' '.join(result.stdout.split())
  start = text.index('--only')
  listed = text[start:].partition('Of these: ')[2].partition('.')[0]
  assert tuple(listed.split(', ')) == run.NAMES
  for benchmark in (*run._PLAIN.values(), *run._OF_RECIPE.values()):
    assert callable(benchmark) and benchmark.__doc__
