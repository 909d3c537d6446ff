"""Texts that look like others are no ids; ids reach no device; names no files."""

import ast
import contextlib
import pathlib
import sys
import unicodedata

import jax
import numpy as np
import pytest

import unlearn_jax
from tests.exact import tiny
from unlearn_jax import errors, registry
from unlearn_jax.exact import program
from unlearn_jax.exact import system as system_lib

PACKAGE = pathlib.Path(unlearn_jax.__file__).parent
ROOT = PACKAGE.parent
GOOD = (
  *(
    'a',
    '1',
    'é',
    'row 1',
    '日本',
    'x' * 256,
    'é' * 128,
    'a/../b',
    '🙂',
    "o'b",
  ),
  *('ab' * 128, '-1', 'nan', 'A', 'ß'),
)
BAD = {
  'control': ('a\nb', 'a\tb', '\x00a', 'a\x7f', '\x85x', 'a\x1bb'),
  'format': ('a\u200bb', '\u202ea', 'a\ufeff', 'a\u00adb', '\u2066a'),
  'surrogate': ('\ud800', 'a\udfff'),
  'blank': (' a', 'a ', '\u00a0a', 'a\u2003', '　a'),
  'NFC': (unicodedata.normalize('NFD', 'é'), '\u212b', '\u0344'),
  '256 bytes': ('x' * 257, 'é' * 129, '🙂' * 65),
}
CASES = [(why, text) for why, texts in BAD.items() for text in texts]


def test_texts_that_are_no_others_are_admitted(tmp_path):
  with tiny.system(tmp_path, GOOD) as system:
    for one in GOOD[:4]:
      assert system.delete([one]).deleted == 1
    assert system.status()['examples'] == len(GOOD) - 4


@pytest.mark.parametrize('why, text', CASES, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize('owner', [False, True])
def test_texts_that_could_be_others_are_refused(owner, why, text, tmp_path):
  names = ['one', text, 'two']
  plain = ['one', 'x', 'two']
  given = (plain, names) if owner else (names, plain)
  tiny.write(tmp_path / 'data.npz', *given)
  config = tiny.config(tmp_path / 'data.npz')
  with pytest.raises(errors.DataError, match=why):
    system_lib.System.create(str(tmp_path / 'system'), config)
  assert not (tmp_path / 'system').exists()


def test_what_is_added_later_is_looked_at_as_well(tmp_path):
  with tiny.system(tmp_path, ['one', 'two'], ['a', 'b']) as system:
    before = tiny.dump(system.workdir)
    for bad, owner in (('three ', 'c'), ('three', 'c\u200b'), ('x' * 257, 'c')):
      tiny.write(tmp_path / 'data.npz', ['one', 'two', bad], ['a', 'b', owner])
      with pytest.raises(errors.DataError):
        system.add([bad])
      with pytest.raises(errors.DataError):
        system.add(['one', bad])
    assert tiny.dump(system.workdir) == before
    tiny.write(tmp_path / 'data.npz', ['one', 'two', 'three'], ['a', 'b', 'c'])
    assert system.add(['three']) == 1


def test_no_id_reaches_a_device(tmp_path, monkeypatch):
  """Neither whole nor as one of its halves, which 32 bits would make of it."""
  ids = np.random.default_rng(0).integers(2**33, 2**62, 24)
  halves = {int(i) >> 32 for i in ids} | {int(i) & 0xFFFFFFFF for i in ids}
  sent, put, loop = [], jax.device_put, program.Engine.loop

  def send(tree):
    for leaf in jax.tree.leaves(tree):
      if jax.dtypes.issubdtype(jax.numpy.result_type(leaf), np.integer):
        sent.append(np.array(leaf))  # now: it may be given away

  def spied_put(tree, *args, **kwargs):
    send(tree)
    return put(tree, *args, **kwargs)

  def spied_loop(self, depth):
    compiled = loop(self, depth)

    def run(*args):
      send(args)
      return compiled(*args)

    return run

  monkeypatch.setattr(jax, 'device_put', spied_put)
  monkeypatch.setattr(program.Engine, 'loop', spied_loop)
  with tiny.system(tmp_path, ids, ids) as system:
    system.train()
    system.delete(ids[:2].tolist())
    system.delete(owners=ids[4:5].tolist())
    system.repair()
    system.predict(np.zeros((2, 2)))
  assert sum(found.size for found in sent) > 1000 and len(sent) > 20
  for found in sent:
    assert found.dtype.itemsize <= 4 or found.ndim == 0
    assert not {int(n) & 0xFFFFFFFF for n in found.ravel()} & halves


HOSTILE = (
  *('..', '../x', '/etc/passwd', 'a/b', 'a.b', '.', '', '__init__', '_checks'),
  *('os', 'npz\x00', '%2e%2e', 'NPZ', ' npz', 'npz ', 'models.mlp'),
)


@pytest.mark.parametrize('kind', ['data', 'models'])
@pytest.mark.parametrize('name', HOSTILE)
def test_a_name_in_a_config_is_a_component_or_nothing(name, kind, tmp_path):
  registry.available(kind)
  before = set(sys.modules)
  with pytest.raises(errors.UnknownName):
    registry.get(kind, name)
  assert set(sys.modules) == before
  tiny.write(tmp_path / 'data.npz', range(4))
  config = tiny.config(tmp_path / 'data.npz')
  field = 'model' if kind == 'models' else kind
  config[field] = {**config[field], 'name': name}
  with pytest.raises(errors.UnknownName):
    system_lib.System.create(str(tmp_path / 'system'), config)
  assert not (tmp_path / 'system').exists()


def test_a_link_in_a_system_is_removed_and_not_followed(tmp_path):
  outside = tmp_path / 'outside'
  outside.mkdir()
  (outside / 'letter').write_text('dear')
  with tiny.system(tmp_path) as system:
    system.train()
    for name in ('ab' * 32, '.x.1.new-checkpoint'):
      (system.workdir / 'stages' / name).symlink_to(outside)
    system.delete([3])
    system.repair()
    assert system.audit('E3').passed
    names = {path.name for path in (system.workdir / 'stages').iterdir()}
    assert names == set(system.names().values())
  assert (outside / 'letter').read_text() == 'dear'


# What runs or unpacks whatever it is given. Processes of one cluster, which
# run the same program, hand each other values as pickles; no file is one.
ALLOWED = {('unlearn_jax/devices.py', 'pickle')}
MODULES = {
  *('pickle', '_pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve'),
  *('marshal', 'yaml', 'torch', 'jsonpickle'),
}
CALLS = {'eval', 'exec', 'compile', '__import__'}


def unsafe(tree):
  """Names of what could run what it reads."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (a.name for a in node.names if a.name.split('.')[0] in MODULES)
    elif isinstance(node, ast.ImportFrom):
      if (node.module or '').split('.')[0] in MODULES:
        yield node.module
    elif isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      given = {word.arg: ast.unparse(word.value) for word in node.keywords}
      if called in CALLS:
        yield called
      if called in ('np.load', 'numpy.load', 'jnp.load'):
        if given.get('allow_pickle') != 'False':
          yield called
      elif given.get('allow_pickle', 'False') != 'False':
        yield called


@pytest.mark.parametrize('folder', ['unlearn_jax', 'experiments', 'configs'])
def test_nothing_that_is_read_is_run(folder):
  paths = sorted((ROOT / folder).rglob('*.py'))
  assert paths
  found = {
    (path.relative_to(ROOT).as_posix(), what)
    for path in paths
    for what in unsafe(ast.parse(path.read_text()))
  }
  assert found - ALLOWED == set()


@pytest.mark.parametrize(
  'text',
  [
    'import pickle',
    'from dill import loads',
    'np.load(f)',
    'np.load(f, allow_pickle=True)',
    'read(f, allow_pickle=yes)',
    'eval(text)',
    'import yaml.loader',
    "__import__('os')",
  ],
)
def test_the_gate_sees_what_it_forbids(text):
  assert list(unsafe(ast.parse(text)))


def test_a_system_opens_nothing_but_itself(tmp_path):
  """A recipe in a work directory was sealed there; another one is refused."""
  with tiny.system(tmp_path) as system:
    path = system.workdir / 'system.json'
  text = path.read_text()
  for old, new in (('"linear"', '"../linear"'), ('data.npz', '../data.npz')):
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(errors.WorkdirError, match='damaged'):
      system_lib.System.open(str(path.parent))
  path.write_text(text)
  with contextlib.closing(system_lib.System.open(str(path.parent))) as again:
    assert again.status()['examples'] == 24
