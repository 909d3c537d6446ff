"""A run directory survives kills, refuses what is not its own, and is JSON."""

import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.study import writer as writer_lib

_CONFIG = {'seed': 3, 'optimizer': {'name': 'sgd', 'rate': 0.1}, 'dims': (8, 4)}


def _open(workdir, **kwargs) -> writer_lib.Writer:
  return writer_lib.Writer(workdir, **{'config': _CONFIG, **kwargs})


def _read(path: pathlib.Path):
  def refuse(token):
    raise AssertionError(f'{token} is not JSON')

  return json.loads(path.read_text(), parse_constant=refuse)


def _state(workdir) -> str:
  return _read(workdir / 'status.json')['state']


def test_a_run_explains_itself(tmp_path):
  with _open(tmp_path / 'new' / 'run', argv=['fit.py', '--x=1']) as writer:
    workdir = writer.workdir
    assert not writer.resumed
    status = _read(workdir / 'status.json')
    assert status['state'] == 'running' and status['ended'] is None
    writer.scalars(0, {'loss': jnp.float32(0.5)}, {'rows': np.int64(7)})
    writer.summary({'accuracy': np.float32(0.75), 'sizes': jnp.arange(2)})
  status = _read(workdir / 'status.json')
  assert status['state'] == 'done' and status['ended'] >= status['started']
  assert _read(workdir / 'config.json') == {**_CONFIG, 'dims': [8, 4]}
  assert _read(workdir / 'fit.json') == {'accuracy': 0.75, 'sizes': [0, 1]}
  run = _read(workdir / 'run.json')
  assert run['argv'] == ['fit.py', '--x=1'] and run['binary'] == 'fit'
  assert run['versions']['jax'] == jax.__version__
  assert run['versions']['numpy'] == importlib.metadata.version('numpy')
  assert run['machine']['device_count'] == jax.device_count()
  assert writer_lib.read_metrics(workdir) == [
    {'step': 0, 'loss': 0.5, 'rows': 7}
  ]


def test_the_revision_is_that_of_the_clone_or_absent(tmp_path):
  def git(*arguments):
    identity = ('-c', 'user.name=a', '-c', 'user.email=a@a')
    subprocess.run(
      ['git', *identity, *arguments],
      cwd=tmp_path,
      check=True,
      capture_output=True,
    )

  package = tmp_path / 'package'
  package.mkdir()
  (package / '__init__.py').touch()
  assert writer_lib._revision(package) is None
  git('init')
  git('commit', '--allow-empty', '-m', 'somebody else')
  assert writer_lib._revision(package) is None  # Inside a clone, not of it.
  git('add', '.')
  assert writer_lib._revision(package)['dirty'] is True
  git('commit', '-m', 'ours')
  seen = writer_lib._revision(package)
  assert seen['dirty'] is False and len(seen['revision']) == 40


def test_not_finite_values_stay_json(tmp_path):
  values = {
    'nan': float('nan'),
    'inf': np.float32('inf'),
    'low': jnp.bfloat16(-jnp.inf),
  }
  with _open(tmp_path) as writer:
    writer.scalars(1, values)
    writer.summary({'list': [np.nan, 1.0]})
  assert _read(tmp_path / 'metrics.jsonl') == {
    'step': 1,
    'nan': 'NaN',
    'inf': 'Infinity',
    'low': '-Infinity',
  }
  assert _read(tmp_path / 'fit.json') == {'list': ['NaN', 1.0]}
  (row,) = writer_lib.read_metrics(tmp_path)
  assert np.isnan(row['nan']) and row['low'] == -row['inf'] == -np.inf


def test_a_row_is_scalars_with_names_that_differ(tmp_path):
  with _open(tmp_path) as writer:
    for groups in (
      [{'loss': 1.0}, {'loss': 2.0}],
      [{'step': 1.0}],
      [{'loss': jnp.ones(2)}],
      [{'loss': 'low'}],
      [{'loss': None}],
    ):
      with pytest.raises(ValueError, match='loss|step'):
        writer.scalars(1, *groups)
    with pytest.raises(TypeError, match='object'):
      writer.summary({'x': object()})
    with pytest.raises(ValueError, match='same name'):
      writer.summary({1: 'x', '1': 'y'})
  assert writer_lib.read_metrics(tmp_path) == []


def test_the_same_run_continues(tmp_path):
  with _open(tmp_path, argv=['first']) as writer:
    for step in range(5):
      writer.scalars(step, {'loss': step / 3})
  with _open(tmp_path, argv=['second']) as writer:
    assert writer.resumed
    writer.rewind(2)
    writer.scalars(3, {'loss': 30.0})
  rows = writer_lib.read_metrics(tmp_path)
  assert [row['loss'] for row in rows] == [0.0, 1 / 3, 2 / 3, 30.0]
  run = _read(tmp_path / 'run.json')
  assert run['argv'] == ['second']
  assert [before['argv'] for before in run['earlier']] == [['first']]


def test_another_configuration_is_refused_with_both_values(tmp_path):
  with _open(tmp_path) as writer:
    writer.scalars(1, {'loss': 1.0})
    writer.summary({})
  (tmp_path / 'mine.txt').write_text('not of the writer')
  other = {'seed': 4, 'optimizer': {'name': 'sgd'}, 'dims': [8, 4], 'new': None}
  with pytest.raises(errors.WorkdirError) as caught:
    _open(tmp_path, config=other).__enter__()
  message = str(caught.value)
  for part in (
    str(tmp_path),
    'seed: 3 there, 4 asked',
    "optimizer.rate: 0.1 there, 'absent' asked",
    "new: 'absent' there, None asked",
  ):
    assert part in message
  assert 'dims' not in message and 'optimizer.name' not in message
  with pytest.raises(errors.WorkdirError, match="'fit', not of 'audit'"):
    _open(tmp_path, binary='audit').__enter__()
  with pytest.raises(errors.WorkdirError, match="'fit', not of 'audit'"):
    _open(tmp_path, binary='audit', overwrite=True).__enter__()
  assert _state(tmp_path) == 'done'  # Nothing was touched.

  with _open(tmp_path, config=other, overwrite=True) as writer:
    assert not writer.resumed
    assert not (tmp_path / 'fit.json').exists()
  assert writer_lib.read_metrics(tmp_path) == []
  assert _read(tmp_path / 'config.json') == other
  assert _read(tmp_path / 'run.json')['earlier'] == []
  assert (tmp_path / 'mine.txt').exists()


def test_a_foreign_directory_is_never_touched(tmp_path):
  (tmp_path / 'config.json').write_text('{}')
  for overwrite in (False, True):
    with pytest.raises(errors.WorkdirError, match='not empty'):
      _open(tmp_path, overwrite=overwrite).__enter__()
  assert os.listdir(tmp_path) == ['config.json']


def test_how_it_ended_is_recorded(tmp_path):
  class Odd(Exception):
    pass

  for error, state, reason in (
    (Odd('went wrong'), 'failed', 'Odd: went wrong'),
    (KeyboardInterrupt(), 'interrupted', 'KeyboardInterrupt'),
    (SystemExit(0), 'done', None),
    (SystemExit(3), 'failed', 'SystemExit: 3'),
  ):
    with pytest.raises(type(error)), _open(tmp_path):
      raise error
    status = _read(tmp_path / 'status.json')
    assert (status['state'], status['reason']) == (state, reason)


def test_a_path_that_cannot_be_used_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'run'):
    with pytest.raises(errors.WorkdirError, match=f'cannot use {path}'):
      _open(path).__enter__()


def test_damage_is_named(tmp_path):
  with _open(tmp_path) as writer:
    writer.scalars(1, {'loss': 1.0})
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('not json\n{"step": 2}\n')
  with pytest.raises(errors.WorkdirError, match='metrics.jsonl.* line 2'):
    writer_lib.read_metrics(tmp_path)
  (tmp_path / 'run.json').write_text('{')
  with pytest.raises(errors.WorkdirError, match='run.json is damaged'):
    _open(tmp_path).__enter__()


def test_half_a_last_line_is_dropped(tmp_path):
  with _open(tmp_path) as writer:
    writer.scalars(1, {'loss': 1.0})
    writer.scalars(2, {'loss': 2.0})
  path = tmp_path / 'metrics.jsonl'
  whole = path.read_bytes()
  for cut in range(1, len(whole) // 2):
    path.write_bytes(whole[:-cut])
    with _open(tmp_path) as writer:
      writer.scalars(3, {'loss': 3.0})
    steps = [row['step'] for row in writer_lib.read_metrics(tmp_path)]
    assert steps == [1, 3]


def test_tensorboard_events_follow_a_rewind(tmp_path):
  with _open(tmp_path, tensorboard=True) as writer:
    writer.scalars(1, {'loss': 1.0, 'bad': float('nan')})
    writer.rewind(0)
    writer.scalars(1, {'loss': 2.0})
  files = list(tmp_path.glob('events.out.tfevents.*'))
  assert len(files) == 2
  assert all(b'loss' in file.read_bytes() for file in files)
  with _open(tmp_path, overwrite=True):
    assert not list(tmp_path.glob('events.out.tfevents.*'))


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(errors.ConfigError, match=r'unlearn_jax\[tensorboard\]'):
    _open(tmp_path / 'run', tensorboard=True)
  assert not (tmp_path / 'run').exists()


_RUN = """
  import resource, sys, time
  from unlearn_jax.study import writer as writer_lib
  with writer_lib.Writer(sys.argv[1], config={'seed': 3}) as writer:
    if len(sys.argv) > 2:  # No file may grow beyond this, as on a full disk.
      limit = int(sys.argv[2])
      resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    step = 0
    while True:
      writer.scalars(step, {'loss': 1 / (step + 1)})
      step += 1
"""


def _child(*arguments) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-W', 'error', '-c', textwrap.dedent(_RUN)]
    + [str(argument) for argument in arguments],
    stderr=subprocess.PIPE,
    text=True,
  )


def _wait_for_rows(workdir: pathlib.Path, child: subprocess.Popen) -> None:
  path = workdir / 'metrics.jsonl'
  deadline = time.monotonic() + 60
  while not path.exists() or path.stat().st_size < 1000:
    assert child.poll() is None, child.stderr.read()
    assert time.monotonic() < deadline
    time.sleep(0.02)


@pytest.mark.parametrize(
  'number, code, state',
  [
    (signal.SIGKILL, -signal.SIGKILL, 'running'),
    (signal.SIGTERM, 128 + signal.SIGTERM, 'interrupted'),
  ],
)
def test_a_killed_run_is_resumed(tmp_path, number, code, state):
  config = {'seed': 3}
  child = _child(tmp_path)
  try:
    _wait_for_rows(tmp_path, child)
    with pytest.raises(errors.WorkdirError, match=f'process {child.pid}'):
      _open(tmp_path, config=config).__enter__()
    child.send_signal(number)
    child.communicate(timeout=60)
  finally:
    child.kill()
    child.wait()
  assert child.returncode == code
  assert _state(tmp_path) == state
  with _open(tmp_path, config=config) as writer:
    assert writer.resumed
    writer.rewind(4)
    writer.scalars(5, {'loss': 0.0})
  rows = writer_lib.read_metrics(tmp_path)
  assert [row['step'] for row in rows] == list(range(6))
  assert _state(tmp_path) == 'done'


def test_a_full_disk_is_named_and_leaves_whole_rows(tmp_path):
  child = _child(tmp_path, 20_001)
  _, err = child.communicate(timeout=60)
  assert child.returncode == 1
  assert (
    f'WorkdirError: cannot use {tmp_path}: [Errno 27] File too large' in err
  )
  assert (tmp_path / 'metrics.jsonl').read_bytes().endswith(b'}\n')
  assert len(writer_lib.read_metrics(tmp_path)) > 100
  status = _read(tmp_path / 'status.json')
  assert status['state'] == 'failed' and 'File too large' in status['reason']


def test_an_error_survives_a_status_that_cannot_be_written(tmp_path):
  with pytest.raises(ZeroDivisionError) as caught, _open(tmp_path):
    (tmp_path / '.status.json.new').mkdir()
    raise ZeroDivisionError
  assert 'the status was not written' in caught.value.__notes__[0]


def test_a_handler_of_the_program_is_left_alone(tmp_path):
  def own(number, frame):
    pass

  before = signal.signal(signal.SIGTERM, own)
  try:
    with _open(tmp_path):
      assert signal.getsignal(signal.SIGTERM) is own
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with _open(tmp_path):
      assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  finally:
    signal.signal(signal.SIGTERM, before)
