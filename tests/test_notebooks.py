"""The notebooks are stored clean, install themselves, and really run."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / 'experiments' / 'colab'
NAMES = ('benchmark_your_method', 'datamodels', 'quickstart')
CODE_FIELDS = {'cell_type', 'execution_count', 'id', 'metadata', 'outputs'}
PLACES = re.compile(r'/(content|home|mnt|private|root|tmp|usr|var|work|Users)/')


def _cells(name):
  return json.loads((FOLDER / f'{name}.ipynb').read_text())['cells']


def _install():
  return ''.join(_cells('quickstart')[0]['source'])


def test_these_are_all():
  found = {path.name for path in FOLDER.iterdir()} - {'.ipynb_checkpoints'}
  assert found == {f'{name}.ipynb' for name in NAMES}


@pytest.mark.parametrize('name', NAMES)
def test_it_is_stored_without_what_a_run_leaves(name):
  text = (FOLDER / f'{name}.ipynb').read_text()
  found = json.loads(text)
  assert (found['nbformat'], found['nbformat_minor']) == (4, 5)
  ids = [cell['id'] for cell in found['cells']]
  assert len(set(ids)) == len(ids)
  assert all(re.fullmatch('[a-zA-Z0-9_-]{1,64}', one) for one in ids)
  for cell in found['cells']:
    assert ''.join(cell['source']).strip(), f'{cell["id"]} is empty'
    assert cell['metadata'] == {}
    if cell['cell_type'] == 'code':
      assert set(cell) == CODE_FIELDS | {'source'}
      assert cell['outputs'] == [] and cell['execution_count'] is None
    else:
      assert set(cell) == {'cell_type', 'id', 'metadata', 'source'}
      assert cell['cell_type'] == 'markdown'
  assert not PLACES.search(text), PLACES.search(text)


@pytest.mark.parametrize('name', NAMES)
def test_it_begins_with_the_install_cell_and_a_title(name):
  first, second, *_ = _cells(name)
  assert ''.join(first['source']) == _install()
  assert first['source'][0].startswith('# @title Install')
  assert 'SOURCE = \'\'  # @param {type:"string"}\n' in first['source']
  assert second['source'][0].startswith('# ')


def _python(code, *flags, cwd):
  return subprocess.run(
    [sys.executable, *flags, '-c', code],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=60,
  )


def test_in_a_clone_it_installs_nothing_and_finds_the_root():
  code = f'import subprocess; subprocess.run = None\n{_install()}\nprint(root)'
  result = _python(f'{code}; print(os.getcwd())', cwd=FOLDER)
  assert result.stdout.split() == [str(ROOT)] * 2, result.stderr


def test_elsewhere_an_empty_source_is_a_clear_error(tmp_path):
  # -S: nothing is installed.
  result = _python(_install(), '-S', cwd=tmp_path)
  assert result.returncode == 1
  last = result.stderr.strip().splitlines()[-1]
  assert last.startswith('RuntimeError') and 'SOURCE is empty: set it' in last
  assert not list(tmp_path.iterdir())


def test_elsewhere_it_clones_and_installs_the_source(tmp_path):
  install = _install().replace("SOURCE = ''", "SOURCE = 'the address'")
  code = """
import pathlib, subprocess
done = []
def run(command, check):
  done.append(command)
  for name in ('unlearn_jax', 'configs', 'experiments'):
    pathlib.Path(command[-1], name).mkdir(parents=True, exist_ok=True)
subprocess.run = run
"""
  told = 'import json; print(json.dumps([done, os.getcwd(), sys.path[0]]))'
  for cwd, times in ((tmp_path, 2), (tmp_path, 1), (tmp_path / 'd', 2)):
    cwd.mkdir(exist_ok=True)
    result = _python(f'{code}{install}\n{told}', '-S', cwd=cwd)
    assert not result.returncode, result.stderr
    commands, *places = json.loads(result.stdout)
    clone = str(cwd / 'unlearn_jax')
    clones = [['git', 'clone', 'the address', clone]]
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--editable']
    # Once more in the same place, after a restart: the clone is there.
    assert commands == [*clones, [*pip, clone]][-times:]
    assert places == [clone, clone]


@pytest.mark.parametrize('name', NAMES)
def test_it_is_valid(name):
  nbformat = pytest.importorskip('nbformat', reason='the extra [notebook]')
  found = nbformat.read(
    FOLDER / f'{name}.ipynb', as_version=nbformat.NO_CONVERT
  )
  nbformat.validate(found)


class _Run:
  """What the cells of a notebook have shown, by their ids."""

  def __init__(self, notebook):
    self._cells = {cell.id: cell.get('outputs', []) for cell in notebook.cells}

  def text(self, cell):
    return ''.join(
      one.text for one in self._cells[cell] if one.output_type == 'stream'
    )

  def markdown(self, cell):
    return ''.join(self._shown(cell, 'text/markdown'))

  def pictures(self):
    return {cell for cell in self._cells if self._shown(cell, 'image/png')}

  def _shown(self, cell, kind):
    shown = [one.data for one in self._cells[cell] if 'data' in one]
    return [data[kind] for data in shown if kind in data]


@pytest.fixture
def execute(tmp_path, monkeypatch):
  """Runs a notebook from scratch: a new kernel in a folder with nothing."""
  nbclient = pytest.importorskip('nbclient', reason='the extra [notebook]')
  pytest.importorskip('ipykernel', reason='the extra [notebook]')
  nbformat = pytest.importorskip('nbformat', reason='the extra [notebook]')
  for name in ('JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR', 'IPYTHONDIR'):
    monkeypatch.setenv(name, str(tmp_path / 'jupyter'))
  for name in ('JUPYTER_PATH', 'MPLBACKEND'):
    monkeypatch.delenv(name, raising=False)
  for name in ('TMPDIR', 'here'):
    (tmp_path / name).mkdir()
  monkeypatch.setenv('TMPDIR', str(tmp_path / 'TMPDIR'))

  def run(name):
    notebook = nbformat.read(FOLDER / f'{name}.ipynb', as_version=4)
    nbclient.NotebookClient(
      notebook,
      timeout=1800,
      kernel_name='python3',
      resources={'metadata': {'path': str(tmp_path / 'here')}},
    ).execute()
    assert not list((tmp_path / 'here').iterdir())
    return _Run(notebook)

  return run


def _numbers(text, row):
  """The numbers of the line that begins with `row`."""
  line = next(one for one in text.splitlines() if one.strip().startswith(row))
  return [float(x) for x in re.findall(r'-?\d+\.\d+', line)]


@pytest.mark.slow
def test_quickstart(execute):
  run = execute('quickstart')
  assert run.pictures() == {'look', 'picture'}
  gone = int(re.search(r'(\d+) of 12 stages are gone', run.text('delete'))[1])
  assert 1 <= gone < 12
  assert f'{gone} stages trained again' in run.text('repair')
  told = run.text('picture')
  (trained,), (deleted,), (repaired,) = (
    _numbers(told, row) for row in ('trained', 'deleted', 'repaired')
  )
  assert min(trained, repaired) > 90 and deleted < trained
  assert told.count('[3, 3, 3, 3]') == 2
  assert 'audit E3: 12 of 12 stages are equal' in run.text('audit')
  assert '\n0 files left' in run.text('audit')
  assert run.text('audit').endswith('\npassed\n')
  assert run.text('certificate').endswith('\nverified\n')
  refused = run.text('tampered').strip().splitlines()
  assert [line[:8] for line in refused] == ['REFUSED:'] * 3
  assert len(set(refused)) == 3


@pytest.mark.slow
def test_datamodels(execute):
  run = execute('datamodels')
  assert run.pictures() == {'who', 'margins', 'klom'}
  mean, _, highest = _numbers(run.text('held-out'), 'rank correlation')
  assert 0.4 < mean < highest <= 1
  asked = {
    row: _numbers(run.text('unlearn'), row)[0]
    for row in ('do nothing', 'dm_direct', 'dmm', 'oracles')
  }
  for method in ('dm_direct', 'dmm'):
    far = asked['do nothing'] - asked['oracles']
    assert abs(asked[method] - asked['oracles']) < 0.5 * far
  klom = {
    row: _numbers(run.text('klom'), row)
    for row in ('do nothing', 'dm_direct', 'dmm', 'fresh oracles')
  }
  for split in range(3):
    floor, nothing = klom['fresh oracles'][split], klom['do nothing'][split]
    for method in ('dm_direct', 'dmm'):
      assert floor < klom[method][split] < nothing


@pytest.mark.slow
def test_benchmark_your_method(execute):
  run = execute('benchmark_your_method')
  assert run.pictures() == {'picture'}
  head, _, *lines = (
    [cell.strip() for cell in line.strip('| ').split(' | ')]
    for line in run.markdown('table').splitlines()
  )
  board = {line[1]: dict(zip(head, line, strict=True)) for line in lines}
  methods = {'mine', 'finetune', 'ssd'}
  assert set(board) == methods | {'fresh oracles', 'do nothing'}
  gaps = {name: float(row['gap'].rstrip(' =')) for name, row in board.items()}
  assert gaps['fresh oracles'] < gaps['mine'] < gaps['do nothing']
  assert board['fresh oracles']['gap'].endswith('=')
  assert not board['do nothing']['gap'].endswith('=')
  tried = run.text('tuned').splitlines()
  assert len(tried) == 4 and 'defaults' in tried[0]
  assert sum('<- chosen' in line for line in tried) == 1
