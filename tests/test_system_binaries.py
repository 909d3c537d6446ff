"""A system through its binaries: train, delete, serve, repair, audit, refuse."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn import datasets

from tests.exact import tiny
from unlearn_jax import errors, operations, worth

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = 'configs/sisa_digits.py:smoke'
DELETED = (1, 2, 3)


def _start(binary, workdir, *arguments):
  return subprocess.Popen(
    [
      sys.executable,
      f'experiments/{binary}.py',
      f'--workdir={workdir}',
      *arguments,
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _run(binary, workdir, *arguments):
  process = _start(binary, workdir, *arguments)
  out, err = process.communicate(timeout=100)
  return subprocess.CompletedProcess(binary, process.returncode, out, err)


def _done(binary, workdir, *arguments):
  """The summary of a run that must succeed, as its JSON has it."""
  result = _run(binary, workdir, *arguments)
  assert result.returncode == 0, result.stderr
  assert f'{workdir}/{binary}.json' in result.stdout
  return json.loads((workdir / f'{binary}.json').read_text())


def _refused(binary, workdir, *arguments):
  """The one line of a run that must be refused."""
  result = _run(binary, workdir, *arguments)
  assert result.returncode == 1, result.stdout + result.stderr
  assert 'Traceback' not in result.stderr
  lines = [
    line
    for line in result.stderr.splitlines()
    if not line.startswith(('I', 'Pass --help'))
  ]
  assert len(lines) == 1, result.stderr
  return lines[0]


def _content(workdir):
  """Every file of a system that tells what it is."""
  return {
    path.relative_to(workdir): path.read_bytes()
    for path in workdir.rglob('*')
    if path.is_file()
    and path.suffix not in ('.sqlite-wal', '.sqlite-shm', '.lock')
  }


def _write_digits(path, without, **changes):
  """The training split from scikit-learn itself, in the types of the set."""
  bunch = datasets.load_digits()
  ids = np.arange(len(bunch.target))
  kept = (ids % 5 != 0) & ~np.isin(ids, without)
  arrays = {
    'x': bunch.images[kept, :, :, None].astype(np.uint8),
    'y': bunch.target[kept].astype(np.int32),
    'id': ids[kept],
  }
  np.savez(path, **(arrays | changes))
  return str(path)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A trained system, used by the tests one after another."""
  workdir = tmp_path_factory.mktemp('system') / 'run'
  summary = _done('train', workdir, f'--config={CONFIG}')
  assert summary['created'] and summary['trained'] == summary['stages'] == 6
  assert summary['examples'] == 1437 and summary['served_depths'] == [3, 3]
  assert summary['test']['accuracy'] > 0.2
  return workdir


def test_a_second_process_compiles_nothing(trained, tmp_path):
  cache = pathlib.Path(os.environ['XDG_CACHE_HOME']) / 'unlearn_jax'

  def programs():
    return {p.name for p in cache.rglob('*') if 'atime' not in p.name}

  before = programs()
  assert len(before) > 3
  again = _done('train', tmp_path / 'again', f'--config={CONFIG}')
  assert again['trained'] == again['stages'] and programs() == before
  first = json.loads((trained / 'train.json').read_text())
  assert again['digest'] == first['digest']


def test_a_request_that_comes_after_a_repair_does_not_fail_it(
  tmp_path, monkeypatch
):
  workdir = str(tmp_path / 's')
  operations.train(tiny.DIGITS, workdir)
  operations.delete(workdir, ids=['3'])
  scores = worth.scores

  def slowly(system):
    operations.delete(workdir, ids=['174'])  # by another process
    return scores(system)

  with monkeypatch.context() as patch:
    patch.setattr(worth, 'scores', slowly)
    first = operations.repair(workdir)
  assert (first['erased'], first['certificates']) == (1, [])
  assert first['trained'] and first['digest'] is None
  second = operations.repair(workdir)
  assert len(second['certificates']) == second['erased'] == 1
  assert second['digest']
  assert operations.certificate(workdir, 2)['request'] == 2


def test_the_worth_of_every_depth_ends_at_that_of_the_system(trained):
  found = _done('depths', trained)
  assert [row['depth'] for row in found['depths']] == [1, 2, 3]
  last, first = found['depths'][-1], found['depths'][0]
  worth = json.loads((trained / 'train.json').read_text())['test']['accuracy']
  assert last['first'] == found['combined']['mean_logit'] == worth
  assert first['first'] < worth
  for row in found['depths']:
    assert row['lowest'] <= row['first'] <= row['highest']


def test_from_training_to_proof(trained, tmp_path):
  seen = _done('status', trained)
  assert (seen['examples'], seen['missing']) == (1437, 0)
  nothing = {'to repair': 0, 'to erase': 0}
  assert seen['requests'] == {'add': 1, 'delete': 0, **nothing}

  gone = _done('delete', trained, f'--ids={",".join(map(str, DELETED))}')
  assert gone['deleted'] == 3 and gone['gone']
  assert min(gone['depths']) < 3 and 'repair' not in gone
  assert 0 < gone['seconds_to_non_use'] < 5
  again = _done('delete', trained, '--ids=2')
  assert (again['deleted'], again['already']) == (0, 1)

  rows = np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8, 1) % 17
  np.savez(tmp_path / 'x.npz', x=rows)
  answer = _done(
    'predict',
    trained,
    f'--input={tmp_path}/x.npz',
    f'--output={tmp_path}/y.npz',
  )
  with np.load(tmp_path / 'y.npz') as y:
    assert y['logits'].shape == (5, 10)
    assert y['predictions'].tolist() == y['logits'].argmax(-1).tolist()
    assert y['served_depths'].tolist() == answer['served_depths']
  assert answer['served_depths'] == gone['depths']

  served = _done('audit', trained, '--level=E1')
  assert served['passed'] and served['checked'] == sum(gone['depths'])
  line = _refused('audit', trained, '--level=E2')
  missing = json.loads((trained / 'audit.json').read_text())['missing']
  assert set(missing) == set(gone['gone'])
  assert all(stage in line for stage in missing) and 'missing' in line

  mended = _done('repair', trained)
  assert mended['trained'] == len(missing)
  assert mended['served_depths'] == [3, 3]
  clean = _write_digits(tmp_path / 'clean.npz', DELETED)
  proved = _done('audit', trained, '--level=E2', f'--data={clean}')
  assert proved['passed'] and proved['equal'] == proved['checked'] == 6
  sealed = _done('audit', trained, '--level=E3', f'--data={clean}')
  assert sealed['passed'] and sealed['residue'] == []
  drawn = _done('audit', trained, '--level=E2', '--sample=2')
  assert drawn['passed'] and drawn['checked'] == 2

  assert mended['erased'] == 1
  command = [str(ROOT / 'experiments/verify.py'), *mended['certificates']]
  command += [f'--head={gone["head"]}', f'--workdir={trained}']
  result = subprocess.run(
    [sys.executable, *command], capture_output=True, text=True, check=True
  )
  assert result.stdout.endswith('verified\n')

  dirty = _write_digits(tmp_path / 'dirty.npz', DELETED[:-1])
  line = _refused('audit', trained, '--level=E2', f'--data={dirty}')
  assert 'other name' in line
  other = _write_digits(tmp_path / 'other.npz', DELETED, std=np.float32(8.0))
  line = _refused('audit', trained, '--level=E2', f'--data={other}')
  assert 'nothing reads: std' in line  # it is the recipe that declares it


def _tempt(folder):
  """(operation, its arguments, what the line says) of refused requests."""
  lines = folder / 'ids.txt'
  lines.write_text('1\n2 3\n4\n')
  empty = folder / 'empty.txt'
  empty.write_text('')
  np.savez(folder / 'float.npz', x=np.zeros((2, 8, 8, 1)))
  np.savez(folder / 'flat.npz', x=np.zeros((2, 64), np.uint8))
  small = _write_digits(folder / 'small.npz', (), x=np.zeros((1437, 4), 'u1'))
  wide = _write_digits(folder / 'wide.npz', (), y=np.full(1437, 10))
  named = _write_digits(folder / 'text.npz', (), id=np.arange(1437).astype('U'))
  output = str(folder / 'y.npz')
  return [
    ('delete', {'ids': ['4', '99999']}, r'not in this system: \[99999\]'),
    ('delete', {'ids': ['4', 'x7']}, r"whole numbers, got \['x7'\]"),
    ('delete', {'ids': ['4', '1_1', str(2**63)]}, r"'1_1', '9223"),
    ('delete', {'ids': ['4'], 'owners': ['-5']}, r'owner.*\[-5\]'),
    ('delete', {'ids_file': str(lines)}, 'ids.txt, line 2: .*2 3'),
    ('delete', {'ids_file': str(empty)}, 'at least one id'),
    ('delete', {'ids_file': str(folder / 'no.txt')}, 'no file .*no.txt'),
    ('delete', {}, 'at least one id or owner'),
    ('add', {'ids': ['5']}, 'not in digits'),  # it is in the test split
    ('add', {'ids': []}, 'at least one id'),
    ('predict', (f'{folder}/float.npz', output), 'as stored'),
    ('predict', (f'{folder}/flat.npz', output), r'shape \[64\]'),
    ('predict', (str(lines), output), 'cannot be read'),
    ('predict', (f'{folder}/flat.npz', 'y.csv'), r'is an .npz file'),
    ('predict', (f'{folder}/flat.npz', f'{folder}/no/y.npz'), 'no folder'),
    ('audit', ('E9',), "unknown level.*'E9'"),
    ('audit', ('E2', small), r'shape \[4\]'),
    ('audit', ('E2', wide), 'classes are 0..9'),
    ('audit', ('E2', named), 'ids of digits are whole numbers, got <U'),
  ]


def test_a_wrong_request_is_one_line_and_changes_nothing(trained, tmp_path):
  before = _content(trained)
  for name, given, words in _tempt(tmp_path):
    named = given if isinstance(given, dict) else {}
    given = () if named else given
    with pytest.raises(errors.UnlearnError, match=words) as caught:
      getattr(operations, name)(str(trained), *given, **named)
    assert '\n' not in str(caught.value)
    assert _content(trained) == before, (name, given, named)
  assert not (tmp_path / 'y.npz').exists()


def test_an_empty_clean_file_is_not_taken_for_none(trained, tmp_path):
  """It is false to Python, and the survivors would have stood in for it."""
  empty = _write_digits(tmp_path / 'empty.npz', np.arange(1797))
  found = operations.audit(str(trained), 'E1', empty)
  assert not found['passed'] and found['other_name']


def test_wrong_flags_are_one_line_and_change_nothing(trained):
  before = _content(trained)
  config = f'--config={CONFIG}'
  for binary, arguments, words in (
    ('delete', ['--ids=4,x7'], r"whole numbers, got \['x7'\]"),
    ('delete', ['--ids=4', '--repair=later'], 'later.*none|now'),
    (
      'train',
      [config, '--config.epochs=2', '--config.model.hidden=(8,)'],
      r'epochs: 1 there, 2 asked; model.hidden: \[16\] there, \[8\] asked',
    ),
  ):
    line = _refused(binary, trained, *arguments)
    assert re.search(words, line), line
    assert _content(trained) == before, (binary, arguments)


def test_a_foreign_directory_is_left_alone(tmp_path):
  (tmp_path / 'letter.txt').write_text('dear')
  before = _content(tmp_path)
  for binary, arguments, words in (
    ('train', [f'--config={CONFIG}'], 'not empty; nothing was touched'),
    ('delete', ['--ids=1'], 'holds no system'),
    ('status', [], 'holds no system'),
    ('quickstart', [], 'nothing was touched'),
  ):
    assert words in _refused(binary, tmp_path, *arguments)
    assert _content(tmp_path) == before


def test_the_tour_is_started_over_and_proves_what_it_says(tmp_path):
  config = f'--config={CONFIG}'
  first, again = (_done('quickstart', tmp_path, config) for _ in range(2))
  assert first['passed'] and first['bit_identical'] == '6 of 6 stages'
  assert first['forgotten'] == again['forgotten']
  train, delete, repair, audit = first['steps']
  assert min(delete['served_depths']) < 3 == min(repair['served_depths'])
  assert repair['accuracy'] == audit['accuracy'] != delete['accuracy']


def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path):
  config = [f'--config={CONFIG}', '--config.shards=8', '--config.epochs=8']
  whole = _done('train', tmp_path / 'whole', *config)
  cut = tmp_path / 'cut'
  process = _start('train', cut, *config)
  deadline = time.monotonic() + 60
  finished = 'stages/' + 64 * '[0-9a-f]'
  while not list(cut.glob(finished)):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.communicate(timeout=60)
  there = len(list(cut.glob(finished)))
  assert (
    1 <= there < whole['stages'] == 24 and not (cut / 'train.json').exists()
  )
  rest = _done('train', cut, *config)
  assert not rest['created'] and rest['trained'] == 24 - there
  assert rest['digest'] == whole['digest']


def test_a_system_finds_its_data_from_anywhere(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  x, y, ids = rng.normal(size=(20, 3)), np.arange(20) % 2, np.arange(20)
  np.savez(tmp_path / 'mine.npz', x=x.astype(np.float32), y=y, id=ids)
  recipe = {
    'data': {'name': 'npz', 'file': 'mine.npz', 'num_classes': 2},
    'model': {'name': 'linear'},
    'shards': 1,
    'slices': 1,
  }
  monkeypatch.chdir(tmp_path)
  assert operations.train(recipe, 's')['created']
  assert not operations.train(recipe, 's')['created']  # the same one
  (tmp_path / 'elsewhere').mkdir()
  monkeypatch.chdir('elsewhere')
  assert operations.delete('../s', ids=['3'])['deleted'] == 1
