"""Folders and JSON on a disk."""

import pytest

from unlearn_jax import files


def test_a_folder_is_made_with_all_above_it(tmp_path):
  for _ in range(2):
    files.make_folder(tmp_path / 'a' / 'b')
  assert (tmp_path / 'a' / 'b').is_dir()


def test_a_file_is_not_taken_for_a_folder(tmp_path):
  (tmp_path / 'file').touch()
  for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    with pytest.raises(NotADirectoryError, match='file'):
      files.make_folder(path)
