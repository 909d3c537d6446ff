"""Arrays that come with a request, whatever is wrong with their file."""

import numpy as np
import pytest

from unlearn_jax import errors, inputs, registry


@pytest.fixture(scope='module')
def digits():
  return registry.make('data', 'digits', split='test')


def _damaged(path):
  """A whole archive but for bytes inside what is compressed."""
  np.savez_compressed(path, x=np.arange(4096).reshape(64, 8, 8, 1))
  content = bytearray(path.read_bytes())
  content[200:260] = bytes(60)
  path.write_bytes(content)


def test_inputs_as_stored_are_taken(digits, tmp_path):
  rows = digits.read(np.arange(3))
  np.savez(tmp_path / 'x.npz', x=rows, more=np.zeros(1))
  found = inputs.read_inputs(str(tmp_path / 'x.npz'), digits)
  np.testing.assert_array_equal(found, rows)


def test_what_is_wrong_with_a_file_is_an_error_that_names_it(digits, tmp_path):
  np.save(tmp_path / 'one.npy', np.zeros(3))
  np.savez(tmp_path / 'other.npz', z=np.zeros(3))
  _damaged(tmp_path / 'damaged.npz')
  for name, reason in {
    'none.npz': 'there is no file',
    'one.npy': 'one array, not several',
    'other.npz': r"no array x; it has \['z'\]",
    'damaged.npz': 'cannot be read',
    '': 'Is a directory',
  }.items():
    with pytest.raises(errors.DataError, match=reason) as caught:
      inputs.read_inputs(str(tmp_path / name), digits)
    assert name in str(caught.value)
