"""The house rules that code can check: who may import what, and how big."""

import ast
import pathlib

import pytest

import unlearn_jax
from unlearn_jax import registry

ROOT = pathlib.Path(unlearn_jax.__file__).parent

# Lower may not import higher. A module stands with its folder, or alone.
LAYERS = (
  (
    'pins',
    'errors',
    'files',
    'archives',
    'keys',
    'types',
    'trees',
    'registry',
    'devices',
    'losses',
    'curvature',
    'optimizers',
    'augment',
    'step',
    'training',
    'checkpoints',
    'clock',
  ),
  ('data', 'models'),
  ('exact', 'fleet'),
  ('pruners', 'attributors', 'unlearners', 'metrics'),
  ('study',),
  ('inputs', 'operations', 'tour', 'worth', 'fields', 'fitting'),
  ('experiment',),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Each of these is known to one place alone.
ONLY_IN = {
  'orbax': {'checkpoints.py'},
  'sqlite3': {'exact/ledger.py'},
  'tensorflow_datasets': {'data/tfds.py'},
  'tensorflow': set(),
  'ml_collections': {'experiment.py', 'fields.py'},
}
ONLY_ATTRIBUTE_IN = {
  'make_mesh': {'devices.py'},
  'Mesh': {'devices.py'},
  'distributed': {'devices.py'},
  'jax_num_cpu_devices': {'devices.py'},
}
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob('*.py'))


def _tree(path):
  return ast.parse((ROOT / path).read_text())


def _imports(path):
  """Dotted names this file imports, at the top or inside functions."""
  for node in ast.walk(_tree(path)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: relative import'
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def _ours(path):
  for name in _imports(path):
    parts = name.split('.')
    if parts[0] == 'unlearn_jax' and len(parts) > 1:
      yield parts[1:]


def _place(path):
  return path.parts[0].removesuffix('.py')


@pytest.mark.parametrize('path', FILES, ids=str)
def test_imports_point_down(path):
  place = _place(path)
  if place == '__init__':
    return
  assert place in RANK, f'{place} stands in no layer: put it into LAYERS'
  for parts in _ours(path):
    assert parts[0] in RANK, f'{path} imports {parts}'
    assert RANK[parts[0]] <= RANK[place], f'{path} imports upward: {parts}'


@pytest.mark.parametrize('path', FILES, ids=str)
def test_components_do_not_import_their_siblings(path):
  if len(path.parts) < 2 or path.parts[0] not in registry.kinds():
    return
  for parts in _ours(path):
    if parts[0] == path.parts[0] and len(parts) > 1:
      assert parts[1].startswith('_'), f'{path} imports its sibling {parts}'


@pytest.mark.parametrize('path', FILES, ids=str)
def test_each_outside_thing_has_one_place(path):
  for name in _imports(path):
    allowed = ONLY_IN.get(name.split('.')[0])
    assert allowed is None or path.as_posix() in allowed, f'{path}: {name}'
    assert name.split('.')[:2] != ['absl', 'flags'], f'{path} knows flags'
  for node in ast.walk(_tree(path)):
    if isinstance(node, ast.Attribute):
      word = node.attr if ast.unparse(node).startswith('jax.') else None
    else:
      word = getattr(node, 'value', None)
    allowed = ONLY_ATTRIBUTE_IN.get(word) if isinstance(word, str) else None
    assert allowed is None or path.as_posix() in allowed, f'{path}: {word}'


@pytest.mark.parametrize('path', FILES, ids=str)
def test_every_file_says_what_it_is_for(path):
  assert ast.get_docstring(_tree(path)), f'{path} has no docstring'


def test_the_rules_see_what_they_forbid(tmp_path, monkeypatch):
  """A rule that cannot fail is none."""
  bad = tmp_path / 'step.py'
  bad.write_text(
    '"""Bad."""\n'
    'import orbax.checkpoint\n'
    'from unlearn_jax.study import writer\n'
    'def f(jax):\n  return jax.make_mesh((1,), ("a",))\n'
  )
  monkeypatch.setitem(globals(), 'ROOT', tmp_path)
  path = pathlib.Path('step.py')
  with pytest.raises(AssertionError, match='upward'):
    test_imports_point_down(path)
  with pytest.raises(AssertionError, match='orbax'):
    test_each_outside_thing_has_one_place(path)
  bad.write_text('"""Bad."""\ndef f(jax):\n  return jax.make_mesh((1,), ())\n')
  with pytest.raises(AssertionError, match='make_mesh'):
    test_each_outside_thing_has_one_place(path)
