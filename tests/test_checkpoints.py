"""Checkpoints are whole, verified and durable, or refused by name."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unlearn_jax import checkpoints, errors, files, trees


def _params():
  return {
    'layer_0': {'kernel': jnp.arange(12.0).reshape(3, 4)},
    'layer_1': {'kernel': jnp.full((4,), 1 / 3, jnp.bfloat16)},
    'stats': {},
  }


def _state():
  params = _params()
  optimizer = optax.chain(optax.clip(1.0), optax.adam(1e-3))
  return {
    'params': params,
    'opt_state': optimizer.init(params),
    'step': jnp.int32(7),
    'empty': np.zeros((0, 3), np.float32),
    'none': None,
  }


def _flip(path: pathlib.Path, at: int) -> None:
  data = bytearray(path.read_bytes())
  data[at] ^= 1
  path.write_bytes(data)


def _files(path: pathlib.Path) -> list[str]:
  return sorted(
    file.relative_to(path).as_posix()
    for file in path.rglob('*')
    if file.is_file()
  )


def test_a_state_comes_back_bit_for_bit(tmp_path):
  state = _state()
  digest = checkpoints.save(tmp_path / 'new' / 'a', state, {'step': 7})
  tree, meta = checkpoints.load(tmp_path / 'new' / 'a', like=state)
  assert meta == {'step': 7}
  assert digest == trees.digest(state)
  assert trees.bit_diff(tree, state).equal
  assert jax.tree.structure(tree) == jax.tree.structure(state)
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(tree))


def test_without_like_it_is_a_nested_dict(tmp_path):
  checkpoints.save(tmp_path / 'a', _params(), {})
  tree, _ = checkpoints.load(tmp_path / 'a')
  assert sorted(tree) == ['layer_0', 'layer_1']
  assert tree['layer_1']['kernel'].dtype == jnp.bfloat16
  assert trees.bit_diff(tree, _params()).equal


@pytest.mark.parametrize('tree', [{}, None, {'x': np.zeros((2, 0))}, 3.5])
def test_trees_that_orbax_alone_refuses(tmp_path, tree):
  checkpoints.save(tmp_path / 'a', tree, {})
  back, _ = checkpoints.load(tmp_path / 'a', like=tree)
  assert trees.bit_diff(back, tree).equal


def test_meta_is_what_json_holds(tmp_path):
  # Integer keys sort otherwise as strings, and the seal has to survive that.
  checkpoints.save(tmp_path / 'a', {}, {'by_step': {2: 'b', 10: 'a'}})
  assert checkpoints.load_meta(tmp_path / 'a') == {
    'by_step': {'2': 'b', '10': 'a'}
  }
  with pytest.raises(ValueError):
    checkpoints.save(tmp_path / 'b', {}, {'loss': float('nan')})
  with pytest.raises(TypeError, match='random key'):
    checkpoints.save(tmp_path / 'b', {'key': jax.random.key(0)}, {})
  assert os.listdir(tmp_path) == ['a']


def test_like_that_does_not_fit_is_refused(tmp_path):
  checkpoints.save(tmp_path / 'a', _params(), {})
  shapes = jax.eval_shape(_params)
  checkpoints.load(tmp_path / 'a', like=shapes)
  for like, where in (
    ({'layer_0': shapes['layer_0']}, 'layer_1/kernel'),
    ({**shapes, 'more': jnp.ones(1)}, 'more'),
    ({**shapes, 'layer_0': {'kernel': jnp.ones((4, 3))}}, 'layer_0/kernel'),
    ({**shapes, 'layer_1': {'kernel': jnp.ones((4,))}}, 'layer_1/kernel'),
  ):
    with pytest.raises(errors.CheckpointError, match=where):
      checkpoints.load(tmp_path / 'a', like=like)


def test_every_flipped_truncated_or_missing_file_is_refused(tmp_path):
  path = tmp_path / 'a'
  checkpoints.save(path, _params(), {'step': 7})
  files = _files(path)
  assert len(files) > 5
  for name in files:
    original = (path / name).read_bytes()
    for at in (0, len(original) // 2, len(original) - 2):
      _flip(path / name, at)
      with pytest.raises(errors.CheckpointError, match=str(path)):
        checkpoints.load(path)
      (path / name).write_bytes(original)
    (path / name).write_bytes(original[: len(original) // 2])
    with pytest.raises(errors.CheckpointError, match=str(path)):
      checkpoints.load(path)
    (path / name).unlink()
    with pytest.raises(errors.CheckpointError, match=str(path)):
      checkpoints.load(path)
    (path / name).write_bytes(original)
  checkpoints.load(path)
  (path / 'arrays' / 'guest').write_text('hello')
  with pytest.raises(errors.CheckpointError, match='guest'):
    checkpoints.load(path)


def test_meta_that_was_edited_is_refused(tmp_path):
  seal = tmp_path / 'a' / 'checkpoint.json'
  checkpoints.save(tmp_path / 'a', _params(), {'step': 7})
  text = seal.read_text()
  seal.write_text(text.replace('"step": 7', '"step": 8'))
  for read in (checkpoints.load, checkpoints.load_meta):
    with pytest.raises(errors.CheckpointError, match='its own seal'):
      read(tmp_path / 'a')


def test_the_digest_of_the_tree_is_checked_too(tmp_path, monkeypatch):
  checkpoints.save(tmp_path / 'a', _params(), {})
  real = checkpoints._read_arrays

  def lying(path, described):
    leaves = real(path, described)
    leaves['layer_0/kernel'] = leaves['layer_0/kernel'] + 1
    return leaves

  monkeypatch.setattr(checkpoints, '_read_arrays', lying)
  with pytest.raises(errors.CheckpointError, match='not the one'):
    checkpoints.load(tmp_path / 'a')


def test_missing_and_foreign_paths_are_refused(tmp_path):
  with pytest.raises(errors.CheckpointError, match='no checkpoint at'):
    checkpoints.load(tmp_path / 'nothing')
  foreign = tmp_path / 'foreign'
  foreign.mkdir()
  (foreign / 'thesis.txt').write_text('years of work')
  (tmp_path / 'file').write_text('a file')
  for path in (foreign, tmp_path / 'file'):
    assert not checkpoints.exists(path)
    with pytest.raises(errors.CheckpointError, match=str(path)):
      checkpoints.load_meta(path)
    with pytest.raises(errors.CheckpointError, match='not replaced'):
      checkpoints.save(path, _params(), {}, overwrite=True)
  assert (foreign / 'thesis.txt').read_text() == 'years of work'
  # A parent that is a file: the file system refuses, whoever asks.
  with pytest.raises(errors.CheckpointError, match='file/a'):
    checkpoints.save(tmp_path / 'file' / 'a', _params(), {})


def test_a_second_save_needs_overwrite(tmp_path):
  path = tmp_path / 'a'
  checkpoints.save(path, {'x': jnp.zeros(2)}, {'number': 1})
  with pytest.raises(errors.CheckpointError, match='exists'):
    checkpoints.save(path, {'x': jnp.ones(2)}, {'number': 2})
  checkpoints.save(path, {'x': jnp.ones(2)}, {'number': 2}, overwrite=True)
  tree, meta = checkpoints.load(path)
  assert meta == {'number': 2} and tree['x'][0] == 1
  assert os.listdir(tmp_path) == ['a']


def test_a_failed_overwrite_leaves_the_old_one(tmp_path, monkeypatch):
  path = tmp_path / 'a'
  checkpoints.save(path, {'x': jnp.zeros(2)}, {'number': 1})

  def full(folder):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(files, 'sync_tree', full)
  with pytest.raises(errors.CheckpointError, match=r'a: .*No space left'):
    checkpoints.save(path, {'x': jnp.ones(2)}, {'number': 2}, overwrite=True)
  assert checkpoints.load(path)[1] == {'number': 1}
  assert os.listdir(tmp_path) == ['a']


def test_latest_reads_numbers_as_numbers(tmp_path):
  assert checkpoints.latest(tmp_path / 'nothing') is None
  for name in ('step_9', 'step_10', 'step_8'):
    checkpoints.save(tmp_path / name, {}, {})
  (tmp_path / 'step_99').mkdir()  # Not finished, so not there.
  assert checkpoints.latest(tmp_path) == tmp_path / 'step_10'


# Replaces a checkpoint and kills itself when the named function is called on
# the named path: no cleanup runs.
_KILLED = """
  import os, signal, sys
  import numpy as np
  from unlearn_jax import checkpoints, files
  path, owner, name, at, suffix = sys.argv[1:]
  owners = {'checkpoints': checkpoints, 'files': files, 'disk': files.disk}
  owner = owners[owner]
  checkpoints.save(path, {'x': np.zeros(2)}, {'number': 1})
  real = getattr(owner, name)
  def killed(*args, **kwargs):
    if str(args[int(at)]).endswith(suffix):
      os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
  setattr(owner, name, killed)
  checkpoints.save(path, {'x': np.ones(2)}, {'number': 2}, overwrite=True)
"""


@pytest.mark.parametrize(
  'place, left, number',
  [
    (('checkpoints', '_write_seal', 0, '.new-checkpoint'), ['a', 'new'], 1),
    (('files', 'sync_tree', 0, '.new-checkpoint'), ['a', 'new'], 1),
    (('disk', 'rename', 1, '.old-checkpoint'), ['a', 'new'], 1),
    (('disk', 'rename', 1, '/a'), ['new', 'old'], 1),
    (('disk', 'sync', 0, 'replaced'), ['a', 'old'], 2),
    (('files', 'remove_tree', 0, '.old-checkpoint'), ['a', 'old'], 2),
  ],
)
def test_killed_in_the_middle_one_of_the_two_is_whole(
  tmp_path, place, left, number
):
  folder = tmp_path / 'replaced'
  died = _run(_KILLED, folder / 'a', *place)
  assert died.returncode == -signal.SIGKILL, died.stderr
  kinds = sorted(
    p.suffix[1:4] if p.suffix else p.name for p in folder.iterdir()
  )
  assert kinds == left
  assert checkpoints.latest(folder) == (folder / 'a' if 'a' in left else None)
  assert len(checkpoints.sweep(folder)) == 1
  assert os.listdir(folder) == ['a']
  assert checkpoints.load(folder / 'a')[1] == {'number': number}


def test_a_killed_first_save_leaves_no_path(tmp_path):
  code = """
    import os, signal, sys
    import numpy as np
    from unlearn_jax import checkpoints, files
    files.sync_tree = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    checkpoints.save(sys.argv[1], {'x': np.ones(2)}, {})
  """
  died = _run(code, tmp_path / 'a')
  assert died.returncode == -signal.SIGKILL, died.stderr
  assert not checkpoints.exists(tmp_path / 'a')
  assert checkpoints.latest(tmp_path) is None
  assert len(checkpoints.sweep(tmp_path)) == 1
  assert os.listdir(tmp_path) == []


def test_orbax_is_lazy_and_silent(tmp_path):
  code = """
    import sys
    from absl import app, logging
    import numpy as np
    from unlearn_jax import checkpoints
    assert not any(name.startswith('orbax') for name in sys.modules)
    def main(argv):
      checkpoints.save(argv[1], {'x': np.ones(2)}, {})
      checkpoints.load(argv[1])
      logging.info('a line of our own')
    app.run(main)
  """
  done = _run(code, tmp_path / 'a')
  assert done.returncode == 0, done.stderr
  lines = [
    line for line in done.stderr.splitlines() if 'xla_bridge.py' not in line
  ]
  assert done.stdout == ''
  assert len(lines) == 1 and lines[0].endswith('a line of our own'), lines


def _run(code: str, *arguments) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, '-W', 'error', '-c', textwrap.dedent(code)]
    + [str(argument) for argument in arguments],
    capture_output=True,
    text=True,
    timeout=60,
  )
