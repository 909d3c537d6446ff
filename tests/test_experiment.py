"""The run of a config: written down, resumed, refused."""

import contextlib
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from unlearn_jax import errors, experiment, fields, fitting, training
from unlearn_jax.exact import recipe

ROOT = pathlib.Path(__file__).parents[1]


def _config(**given):
  c = fields.fit_config()
  c.rows, c.epochs, c.checkpoint_every = 256, 3, 1
  c.model.hidden = (16,)
  c.optimizer.learning_rate = 0.02
  c.update(given)
  return c


def test_a_system_config_has_every_field_of_a_recipe():
  given = fields.system_config().to_dict()
  assert not any(given['augment'].values())  # named, so that flags find them
  given['augment'] = {}
  least = {'data': given['data'], 'model': given['model']}
  assert recipe.Recipe(**least).to_json() == recipe.Recipe(**given).to_json()
  names = {field.name for field in dataclasses.fields(recipe.Recipe)}
  assert set(given) == names


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
  assert summary['test_rows'] == 360


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
    ({'checkpoint_every': -1}, errors.ConfigError, 'checkpoint_every'),
    ({'label_smoothing': 1.0}, errors.ConfigError, 'label_smoothing'),
    ({'label_smoothing': -0.1}, errors.ConfigError, 'label_smoothing'),
    ({'seed': -1}, errors.ConfigError, 'seed'),
    (
      {'optimizer': {'name': 'adam', 'learning_rate': 0.0}},
      errors.ConfigError,
      'learning_rate',
    ),
    ({'augment': {'shift': -1}}, errors.ConfigError, 'shift'),
    ({'model': {'name': 'mlp', 'dropout': 1.0}}, errors.ConfigError, 'dropout'),
    ({'model': {'name': 'mlp', 'hidden': 8}}, errors.ConfigError, 'model'),
    ({'model': {'name': 'mlp', 'hidden': (-3,)}}, errors.ConfigError, 'model'),
    ({'model': {'hidden': (8,)}}, errors.ConfigError, 'name is missing.*mlp'),
    (
      {'model': {'name': 'mlp', 'num_outputs': 3}},
      errors.ConfigError,
      'num_outputs of models follows',
    ),
    (
      {'data': {'name': 'digits', 'split': 'all'}},
      errors.ConfigError,
      'split of data follows',
    ),
    (
      {'model': {'name': 'vit', 'variant': 'micro', 'patch': 5}},
      errors.ConfigError,
      'patch 5.*8 x 8',
    ),
    (
      {
        'model': {
          'name': 'lora',
          'blocks': 50,
          'base': {'name': 'vit', 'variant': 'micro', 'patch': 4},
        }
      },
      errors.ConfigError,
      '50 blocks.*4',
    ),
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


@contextlib.contextmanager
def _with_interrupts():
  """A suite in the background ignores SIGINT, and its children inherit that."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


@_with_interrupts()
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


@pytest.mark.parametrize(
  'how', [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, how):
  whole = _fit_in_a_process(tmp_path / 'whole')
  process = _fit_in_a_process(tmp_path / 'cut')
  deadline = time.monotonic() + 100
  while not list((tmp_path / 'cut').glob('checkpoints/step_*')):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(how)
  output, _ = process.communicate(timeout=60)
  if how == signal.SIGINT:
    assert process.returncode == 130
    assert output.endswith('interrupted; the same command goes on\n')
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


def _own(folder, kept=None, **fields):
  """A run on a file of the user's own, of which `kept` rows are left."""
  x = np.random.default_rng(0).normal(size=(40, 5))
  arrays = {'x': x, 'y': np.arange(40) % 2, 'id': np.arange(40)}
  arrays |= fields.pop('arrays', {})
  kept = np.arange(40) if kept is None else kept
  np.savez(folder / 'own.npz', **{k: a[kept] for k, a in arrays.items()})
  config = _config(rows=0, epochs=2, **fields)
  config.data = {
    'name': 'npz',
    'file': str(folder / 'own.npz'),
    'num_classes': 2,
    'test_percent': 20.0,
  }
  return config


def test_a_run_does_not_go_on_with_rows_that_were_removed(tmp_path):
  workdir = str(tmp_path / 'run')
  first, _ = experiment.fit(_own(tmp_path), workdir)
  # The order of the rows is no part of a run, as it moves no bit of it.
  again, _ = experiment.fit(_own(tmp_path, np.arange(40)[::-1]), workdir)
  assert again['digest'] == first['digest']
  relabeled = {'arrays': {'y': np.arange(40) % 2 ^ (np.arange(40) < 20)}}
  for config in (
    lambda: _own(tmp_path, np.arange(30)),
    lambda: _own(tmp_path, **relabeled),
  ):
    with pytest.raises(errors.WorkdirError, match='data.*changed.*--overwrite'):
      experiment.fit(config(), workdir)
  fewer, _ = experiment.fit(
    _own(tmp_path, np.arange(30)), workdir, overwrite=True
  )
  assert fewer['rows'] < first['rows']


def test_checkpoints_of_a_run_that_was_overwritten_are_not_used(
  tmp_path, monkeypatch
):
  """A kill between the new configuration and the removal of the old ones."""
  experiment.fit(_config(), str(tmp_path))

  def kill(folder):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(fitting.shutil, 'rmtree', kill)
    with pytest.raises(KeyboardInterrupt):
      experiment.fit(_config(seed=1), str(tmp_path), overwrite=True)
  with pytest.raises(errors.WorkdirError, match='configuration changed'):
    experiment.fit(_config(seed=1), str(tmp_path))


def test_another_machine_is_told(tmp_path, monkeypatch):
  experiment.fit(_config(), str(tmp_path))
  said = []
  monkeypatch.setattr(
    fitting.logging, 'warning', lambda form, *a: said.append(form % a)
  )
  experiment.fit(_config(), str(tmp_path))
  assert said == []
  now = fitting.devices.fingerprint()
  monkeypatch.setattr(
    fitting.devices, 'fingerprint', lambda: {**now, 'jaxlib': '0.0.1'}
  )
  experiment.fit(_config(), str(tmp_path))
  (line,) = said
  assert 'jaxlib' in line and "'0.0.1' asked" in line


def _counted(monkeypatch):
  calls, evaluate = [], training.evaluate

  def counting(*args):
    calls.append(1)
    return evaluate(*args)

  monkeypatch.setattr(training, 'evaluate', counting)
  return calls


def test_the_last_step_is_evaluated_once_recorded_and_kept(
  tmp_path, monkeypatch
):
  calls = _counted(monkeypatch)
  config = _config(epochs=3, eval_every=2, checkpoint_every=2)
  summary, _ = experiment.fit(config, str(tmp_path))
  assert len(calls) == 2  # After the second epoch and the last.
  rows = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(row)['step'] for row in rows] == [8, 12]
  assert json.loads(rows[-1])['test/loss'] == summary['test']['loss']
  (kept,) = (tmp_path / 'checkpoints').iterdir()
  assert kept.name == 'step_12'


def test_a_checkpoint_that_a_kill_left_is_dropped(tmp_path, monkeypatch):
  folder = tmp_path / 'checkpoints'
  with monkeypatch.context() as patch:
    patch.setattr(fitting, '_drop_others', lambda *_: None)
    experiment.fit(_config(), str(tmp_path))
  assert len(list(folder.iterdir())) == 3
  experiment.fit(_config(), str(tmp_path))
  assert [path.name for path in folder.iterdir()] == ['step_12']


def test_a_test_loss_that_is_not_finite_is_no_result(tmp_path, monkeypatch):
  monkeypatch.setattr(
    training, 'evaluate', lambda *_: {'loss': float('nan'), 'accuracy': 0.0}
  )
  with pytest.raises(errors.TrainingDiverged, match='test loss is nan'):
    experiment.fit(_config(epochs=1), str(tmp_path))
  status = json.loads((tmp_path / 'status.json').read_text())
  assert status['state'] == 'failed'


def test_what_a_task_or_its_data_do_not_allow_costs_nothing(tmp_path):
  workdir = tmp_path / 'run'
  config = _own(tmp_path, label_smoothing=0.1)
  config.data.task, config.data.num_classes = 'regression', None
  with pytest.raises(errors.ConfigError, match='classification only'):
    experiment.fit(config, str(workdir))
  with pytest.raises(errors.DataError, match='no rows in its test split'):
    experiment.fit(_own(tmp_path, [0]), str(workdir))
  assert not workdir.exists()


def test_pretraining_checks_its_output_first(tmp_path):
  config = _config(model={'name': 'vit'})
  output = str(tmp_path / 'nowhere' / 'b.safetensors')
  with pytest.raises(errors.ConfigError, match='no folder'):
    experiment.pretrain(config, str(tmp_path / 'run'), output)
  assert not (tmp_path / 'run').exists()


def test_a_run_is_done_after_what_finishes_it(tmp_path):
  def finish(summary, params):
    raise OSError('no space')

  with pytest.raises(OSError, match='no space'):
    experiment.fit(_config(epochs=1), str(tmp_path), finish=finish)
  status = json.loads((tmp_path / 'status.json').read_text())
  assert status['state'] == 'failed'


@pytest.mark.parametrize(
  'argv, expected',
  [
    (
      '/home/me/experiments/pretrain.py --workdir=/a --output /b/c '
      '--config.data.folder=/home/me/mnist --overwrite --config.epochs=3',
      'experiments/pretrain.py --config.data.folder=FOLDER --config.epochs=3',
    ),
    (
      'pretrain.py --config=/home/me/configs/vit_mnist.py:smoke '
      '--config.data.folder ~/mnist',
      'experiments/pretrain.py --config=vit_mnist.py:smoke '
      '--config.data.folder=FOLDER',
    ),
    (
      'pretrain.py --config=configs/vit_mnist.py --config.data.folder=data',
      'experiments/pretrain.py --config=configs/vit_mnist.py '
      '--config.data.folder=data',
    ),
  ],
)
def test_a_published_command_names_no_place_of_its_machine(argv, expected):
  assert experiment._public_command(argv.split()) == expected


@pytest.mark.parametrize(
  ('run', 'config'),
  [
    (experiment.benchmark, fields.leaks_config),
    (experiment.attribute, fields.benchmark_config),
    (experiment.leaks, fields.plan_config),
    (experiment.plan, fields.leaks_config),
    (experiment.live, fields.fit_config),
    (experiment.fit, fields.system_config),
  ],
)
def test_the_config_of_another_binary_is_refused(run, config, tmp_path):
  with pytest.raises(errors.ConfigError, match='the config is of'):
    run(config(), str(tmp_path / 'new'))
  assert not (tmp_path / 'new').exists()
