"""Every binary and every config really runs, wrong inputs included."""

import gzip
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from unlearn_jax import experiment
from unlearn_jax.models import _vit_weights

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
  )


@pytest.mark.parametrize('binary', BINARIES)
def test_help_explains(binary, tmp_path):
  result = _run(binary, '--help', cwd=tmp_path)
  assert '--workdir' in result.stdout
  source = (ROOT / 'experiments' / binary).read_text()
  assert len(source.splitlines()) <= 70, 'a binary is a doorbell'
  assert source.split('\n')[0].strip('r"') in result.stdout


def _write_idx(folder):
  """Eight images of each split, in the format of MNIST."""
  rng = np.random.default_rng(0)
  for stem in ('train', 't10k'):
    images = rng.integers(0, 256, (8, 28, 28), dtype=np.uint8)
    for name, array in (
      ('images-idx3', images),
      ('labels-idx1', np.arange(8, dtype=np.uint8)),
    ):
      head = bytes([0, 0, 8, array.ndim])
      head += b''.join(n.to_bytes(4, 'big') for n in array.shape)
      path = folder / f'{stem}-{name}-ubyte.gz'
      path.write_bytes(gzip.compress(head + array.tobytes()))


def _write_cifar(folder):
  rows = np.zeros((8, 3073), np.uint8)
  for name in [f'data_batch_{i}' for i in range(1, 6)] + ['test_batch']:
    (folder / f'{name}.bin').write_bytes(rows.tobytes())


def _write_table(path):
  rows = [
    f'{i},p{i // 2},{20 + i},,north,{"no yes".split()[i % 2]}'
    for i in range(60)
  ]
  path.write_text('\n'.join(['id,person,age,income,region,answer', *rows]))


def _with_tiny_data(config, folder):
  """Data that is not in the clone is replaced by a few rows of its format."""
  if config.data.name == 'tabular':
    config.data.file = str(folder / 'mine.csv')
    _write_table(folder / 'mine.csv')
  if config.data.name == 'npz':
    config.data.file = str(folder / 'mine.npz')
    config.data.num_classes = 2
    x = np.random.default_rng(0).normal(size=(40, 5))
    np.savez(config.data.file, x=x, y=np.arange(40) % 2, id=np.arange(40))
  writers = {'mnist': _write_idx, 'cifar10': _write_cifar}
  if config.data.name in writers:
    writers[config.data.name](folder)
    config.data.folder, config.data.verify = str(folder), False
  return config


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_runs_a_tiny_step(name, tmp_path):
  path = ROOT / 'configs' / f'{name}.py'
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  assert '--config=configs/' in module.__doc__ or '--workdir' in module.__doc__
  assert 'TODO' not in module.__doc__
  assert module.get_config().is_locked
  config = _with_tiny_data(module.get_config('smoke'), tmp_path)
  if 'strategy' in config:  # a system that deletes
    summary = experiment.train(config, str(tmp_path / 'run'))
    assert summary['trained'] == summary['stages'] >= 1
    assert 'accuracy' in summary['test']
  else:
    summary, _ = experiment.fit(config, str(tmp_path / 'run'))
    assert summary['steps'] >= 1
  for line in module.__doc__.splitlines():
    for variant in line.split('`')[1::2]:
      if variant.startswith(':'):
        module.get_config(variant[1:])


def test_a_backbone_can_be_pretrained_and_used(tmp_path):
  _write_idx(tmp_path)
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
  assert (
    facts['seed'] == '0' and '--config.data.verify=false' in facts['command']
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


@pytest.mark.parametrize(
  'arguments, words',
  [
    (['--config.epoch=3'], 'no such field.*"epochs"'),
    (['--config.model.hiden=3'], 'no such field.*"hidden"'),
    (['--config=configs/nowhere.py'], 'nowhere.py'),
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
