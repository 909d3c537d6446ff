"""Every binary and every config really runs, wrong inputs included."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.data import makers
from unlearn_jax import experiment
from unlearn_jax.models import _vit_weights
from unlearn_jax.study import live, planning

ROOT = pathlib.Path(__file__).parents[1]
BINARIES = sorted(
  p.name for p in (ROOT / 'experiments').glob('*.py') if p.name != 'door.py'
)
CONFIGS = sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))


def _run(binary, *arguments, cwd=ROOT):
  return subprocess.run(
    [sys.executable, str(ROOT / 'experiments' / binary), *arguments],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.mark.parametrize('binary', BINARIES)
def test_help_explains(binary, tmp_path):
  result = _run(binary, '--help', cwd=tmp_path)
  assert '--workdir' in result.stdout
  source = (ROOT / 'experiments' / binary).read_text()
  if binary != 'verify.py':  # which is all that a stranger gets
    assert len(source.splitlines()) <= 70, 'a binary is a doorbell'
  assert source.split('\n')[0].strip('r"') in result.stdout


def _write_table(path):
  rows = [
    f'{i},p{i // 2},{20 + i},,north,{"no yes".split()[i % 2]}'
    for i in range(60)
  ]
  path.write_text('\n'.join(['id,person,age,income,region,answer', *rows]))


def _with_tiny_data(config, folder):
  """Data that is not in the clone is replaced by a few rows of its format."""
  if 'data' not in config:  # a plan is about what was measured
    return config
  if config.data.name == 'tabular':
    config.data.file = str(folder / 'mine.csv')
    _write_table(folder / 'mine.csv')
  if config.data.name == 'npz':
    config.data.file = str(folder / 'mine.npz')
    config.data.num_classes = 2
    x = np.random.default_rng(0).normal(size=(40, 5))
    np.savez(config.data.file, x=x, y=np.arange(40) % 2, id=np.arange(40))
  if config.data.name in ('mnist', 'cifar10', 'tfds'):
    for name, value in makers.MAKERS[config.data.name](folder).items():
      config.data[name] = str(value) if value == folder else value
  return config


def _module(name):
  path = ROOT / 'configs' / f'{name}.py'
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_explains_itself_and_has_its_variants(name):
  module = _module(name)
  assert '--config=configs/' in module.__doc__ or '--workdir' in module.__doc__
  assert 'TODO' not in module.__doc__
  assert module.get_config().is_locked
  for line in module.__doc__.splitlines():
    for variant in line.split('`')[1::2]:
      if variant.startswith(':'):
        module.get_config(variant[1:])


# Most of a study is compiled, and that takes a minute each; so are models for
# accelerators; a quickstart is run elsewhere.
LONG = ['s3t_fashion', 's3t_cifar10', 'resnet_cifar10'] + [
  name for name in CONFIGS if name.split('_')[0] in ('dmm', 'bench', 'leaks')
]


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
    for name in CONFIGS
  ],
)
def test_every_config_runs_a_tiny_step(name, tmp_path):
  config = _with_tiny_data(_module(name).get_config('smoke'), tmp_path)
  if 'strategy' in config:  # a system that deletes
    summary = experiment.train(config, str(tmp_path / 'run'))
    assert summary['trained'] == summary['stages'] >= 1
    assert 'accuracy' in summary['test']
  elif 'subset_models' in config:  # a study
    summary = experiment.benchmark(config, str(tmp_path / 'run'))
    assert len(summary['rows']) == len(config.forget_sets) * (
      2 + len(config.methods)
    )
    assert pathlib.Path(summary['picture']).read_bytes()[1:4] == b'PNG'
    # Again it reads what it has found.
    again = experiment.benchmark(config, str(tmp_path / 'run'))
    assert again['rows'] == summary['rows']
  elif config.get('study') == 'leaks':
    summary = experiment.leaks(config, str(tmp_path / 'run'))
    assert {row['leak'] for row in summary['rows']} == {'100 %', *config.edits}
    assert pathlib.Path(summary['picture']).read_bytes()[1:4] == b'PNG'
  elif config.get('study') == 'benchmark':
    summary = experiment.benchmark(config, str(tmp_path / 'run'))
    framed = 1 + config.fresh_oracles  # by doing nothing, and by oracles
    assert len(summary['leaderboard']) == len(config.methods) + framed
    again = experiment.benchmark(config, str(tmp_path / 'run'))
    assert again['rows'] == summary['rows']
  elif config.get('study') == 'plan':
    for study in (planning, live):
      summary = study.run(config.to_dict(), str(tmp_path / 'run'))
      for found in summary['rates']:
        assert {row['line'] for row in found['lines']} == set(config.lines)
  else:
    summary, _ = experiment.fit(config, str(tmp_path / 'run'))
    assert summary['steps'] >= 1


@pytest.mark.slow
def test_a_backbone_can_be_pretrained_and_used(tmp_path):
  makers.write_idx(tmp_path)
  output = tmp_path / 'backbone.safetensors'
  command = (
    'pretrain.py',
    f'--config={ROOT}/configs/vit_mnist.py:smoke',
    f'--config.data.folder={tmp_path}',
    f'--workdir={tmp_path / "run"}',
    f'--output={output}',
  )
  refused = _run(*command)  # these are not the files of MNIST
  assert refused.returncode == 1 and 'train-images' in refused.stderr
  assert not output.exists()
  made = _run(*command, '--config.data.verify=false')
  assert made.returncode == 0, made.stderr
  facts = _vit_weights.metadata(str(output))
  assert facts['seed'] == '0'
  assert facts['command'] == (
    'experiments/pretrain.py --config=vit_mnist.py:smoke '
    '--config.data.folder=FOLDER --config.data.verify=false'
  )
  summary = json.loads((tmp_path / 'run' / 'pretrain.json').read_text())
  assert facts['digest'] == summary['backbone_digest']
  used = _run(
    'fit.py',
    f'--config={ROOT}/configs/vit_fashion.py:smoke',
    f'--config.model.weights={output}',
    f'--workdir={tmp_path / "use"}',
  )
  assert used.returncode == 0, used.stderr


def test_what_is_missing_is_said_at_once():
  result = _run('fit.py')
  assert result.returncode == 1
  assert '--config and --workdir must be given' in result.stderr


@pytest.mark.parametrize(
  'arguments, words',
  [
    (['--config.epoch=3'], 'no such field.*"epochs"'),
    (['--config.zzz=3'], 'no such field.*zzz. Allowed: augment, batch_size'),
    (['--config.model.zzz=3'], 'no such field.*zzz. Allowed: hidden, name'),
    (['--config.augment.shift=-1'], 'shift is a whole number.*-1'),
    (['--config.model.hiden=3'], 'no such field.*"hidden"'),
    (['--config=configs/nowhere.py'], "no config 'configs/nowhere.py'"),
    (['--config=configs/nowhere.py', '--config.epochs=3'], 'nowhere.py'),
    (['--config=configs/sisa_digits.py'], 'no fit: it lacks checkpoint_every'),
    (['--config=configs/mlp_digits.py:smok'], "'smok'.*Allowed: smoke"),
    (['--config.epochs=many'], 'many'),
    (['--config.model.name=mpl'], "'mpl'.*Did you mean 'mlp'"),
    (['stray'], 'unexpected arguments: stray'),
    (['--workdir='], 'holds no run of this package'),
    (['--workdir=configs'], 'holds no run of this package'),
    (['--workdir=README.md/run'], 'README.md'),
  ],
)
def test_wrong_input_is_one_clear_line(arguments, words, tmp_path):
  config = '--config=configs/mlp_digits.py'
  result = _run('fit.py', config, f'--workdir={tmp_path}/run', *arguments)
  assert result.returncode == 1
  assert re.search(words, result.stderr), result.stderr
  assert 'Traceback' not in result.stderr
  assert not (tmp_path / 'run').exists()
