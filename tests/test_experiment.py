"""The run of a config: written down, resumed, refused."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from unlearn_jax import errors, experiment
from unlearn_jax.exact import recipe

ROOT = pathlib.Path(__file__).parents[1]


def _config(**fields):
  c = experiment.fit_config()
  c.rows, c.epochs, c.checkpoint_every = 256, 3, 1
  c.model.hidden = (16,)
  c.optimizer.learning_rate = 0.02
  c.update(fields)
  return c


def test_a_system_config_has_every_field_of_a_recipe():
  given = experiment.system_config().to_dict()
  assert not any(given['augment'].values())  # named, so that flags find them
  given['augment'] = {}
  least = {'data': given['data'], 'model': given['model']}
  assert recipe.Recipe(**least).to_json() == recipe.Recipe(**given).to_json()
  fields = {field.name for field in dataclasses.fields(recipe.Recipe)}
  assert set(given) == fields


def test_a_run_explains_itself(tmp_path):
  summary, _ = experiment.fit(_config(), str(tmp_path))
  assert json.loads((tmp_path / 'fit.json').read_text()) == summary
  assert json.loads((tmp_path / 'config.json').read_text())['rows'] == 256
  assert json.loads((tmp_path / 'status.json').read_text())['state'] == 'done'
  rows = [
    json.loads(line)
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()
  ]
  assert [row['step'] for row in rows] == [4, 8, 12]
  assert rows[-1]['test/accuracy'] == summary['test']['accuracy']
  assert summary['test']['accuracy'] > 0.5
  assert summary['steps'] == 12 and summary['rows'] == 256


def test_a_finished_run_is_not_run_again(tmp_path):
  first, _ = experiment.fit(_config(), str(tmp_path))
  again, _ = experiment.fit(_config(), str(tmp_path))
  assert again['digest'] == first['digest']
  assert again['seconds']['train'] == first['seconds']['train']
  assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 3


def test_another_config_is_refused_and_overwrite_starts_over(tmp_path):
  first, _ = experiment.fit(_config(), str(tmp_path))
  with pytest.raises(errors.WorkdirError, match='seed: 0 there, 1 asked'):
    experiment.fit(_config(seed=1), str(tmp_path))
  assert json.loads((tmp_path / 'fit.json').read_text()) == first
  other, _ = experiment.fit(_config(seed=1), str(tmp_path), overwrite=True)
  assert other['digest'] != first['digest'] and other['steps'] == 12


@pytest.mark.parametrize(
  'fields, error, words',
  [
    ({'data': {'name': 'digit'}}, errors.UnknownName, 'digits'),
    ({'rows': 10**6}, errors.ConfigError, '1437'),
    ({'optimizer': {'name': 'sdg'}}, errors.UnknownName, 'sgd'),
    ({'schedule': {'name': 'cos'}}, errors.UnknownName, 'cosine'),
    ({'augment': {'spin': 1}}, errors.UnknownName, 'shift'),
    ({'model': {'name': 'mlp', 'hid': 3}}, errors.UnknownArgument, 'hidden'),
    ({'batch_size': 0}, errors.ConfigError, 'batch_size'),
    ({'eval_every': 0}, errors.ConfigError, 'eval_every'),
  ],
)
def test_a_wrong_value_costs_nothing(tmp_path, fields, error, words):
  config = _config()
  for name, value in fields.items():
    config[name] = value
  workdir = tmp_path / 'run'
  with pytest.raises(error, match=words):
    experiment.fit(config, str(workdir))
  assert not workdir.exists()


def test_a_run_that_diverges_says_so(tmp_path):
  config = _config()
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 1e30
  with pytest.raises(errors.TrainingDiverged):
    experiment.fit(config, str(tmp_path))
  status = json.loads((tmp_path / 'status.json').read_text())
  assert status['state'] == 'failed' and 'TrainingDiverged' in status['reason']


def _fit_in_a_process(workdir, *extra):
  return subprocess.Popen(
    [
      sys.executable,
      'experiments/fit.py',
      '--config=configs/mlp_digits.py',
      '--config.checkpoint_every=1',
      f'--workdir={workdir}',
      *extra,
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, how):
  whole = _fit_in_a_process(tmp_path / 'whole')
  process = _fit_in_a_process(tmp_path / 'cut')
  deadline = time.monotonic() + 100
  while not list((tmp_path / 'cut').glob('checkpoints/step_*')):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(how)
  process.communicate(timeout=60)
  state = json.loads((tmp_path / 'cut' / 'status.json').read_text())['state']
  assert state == ('running' if how == signal.SIGKILL else 'interrupted')
  again = _fit_in_a_process(tmp_path / 'cut')
  output, _ = again.communicate(timeout=100)
  assert again.returncode == 0, output
  assert 'going on at step' in output
  whole.communicate(timeout=100)
  results = [
    json.loads((tmp_path / run / 'fit.json').read_text())
    for run in ('whole', 'cut')
  ]
  assert results[0]['digest'] == results[1]['digest']
  metrics = [
    (tmp_path / run / 'metrics.jsonl').read_text() for run in ('whole', 'cut')
  ]
  assert metrics[0] == metrics[1]
