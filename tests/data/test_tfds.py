"""Sets prepared by TFDS: no TensorFlow, no waiting, no guessing."""

import socket
import time

import numpy as np
import pytest

from tests.data import tiny_tfds
from unlearn_jax import errors, registry


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tfds')
  tiny_tfds.prepare(folder)
  return folder


def load(folder, **kwargs):
  kwargs = {'dataset': 'tiny', 'data_dir': folder} | kwargs
  return registry.make('data', 'tfds', **kwargs)


def test_content(folder):
  dataset = load(folder, owner_key='person')
  # Every pixel of image i is i, its label i % 3, its owner p(i // 2).
  x = dataset.read(np.arange(12))
  assert x.dtype == np.uint8 and x.shape == (12, 4, 4, 1)
  number = x[:, 0, 0, 0]
  assert sorted(number) == list(range(12))
  np.testing.assert_array_equal(dataset.labels, number % 3)
  assert dataset.owners.tolist() == [f'p{i // 2}' for i in number]
  assert dataset.task.num_outputs == 3
  np.testing.assert_array_equal(
    dataset.all().x, x.astype(np.float32) / np.float32(255)
  )


def test_ids_stay_with_the_example_in_any_split(folder):
  whole = load(folder)
  assert whole.ids[3] == 'tiny-train.array_record-00000-of-00001__3'
  part = load(folder, split='train[4:9]')
  at = whole.positions_of(part.ids)
  np.testing.assert_array_equal(at, np.arange(4, 9))
  np.testing.assert_array_equal(
    part.content_digests(), whole.content_digests(at)
  )
  both = load(folder, split='train+test')
  assert len(both) == len(set(both.ids.tolist())) == 17
  test = load(folder, split='test')
  np.testing.assert_array_equal(
    both.content_digests(both.positions_of(test.ids)), test.content_digests()
  )


def test_reading_lazily_is_the_same(folder, monkeypatch):
  monkeypatch.setattr(
    'unlearn_jax.data.tfds._CHUNK', 5
  )  # several chunks, and a short one
  kept, lazy = load(folder), load(folder, in_memory=False)
  positions = np.array([11, 0, 5, 0])
  np.testing.assert_array_equal(kept.take(positions).x, lazy.take(positions).x)
  np.testing.assert_array_equal(kept.content_digests(), lazy.content_digests())
  assert lazy.take([]).x.shape == (0, 4, 4, 1)


@pytest.fixture
def no_network(monkeypatch):
  def refuse(*_):
    raise AssertionError('asked the network')

  monkeypatch.setattr(socket, 'getaddrinfo', refuse)
  monkeypatch.setattr(socket.socket, 'connect', refuse)


def test_reading_asks_no_network(folder, no_network):
  assert len(load(folder)) == 12


def test_not_prepared_fails_at_once(tmp_path, no_network):
  start = time.perf_counter()
  with pytest.raises(
    errors.DataNotFound, match=r'mnist was not.*\[tfds-prepare\].*python -c'
  ):
    load(tmp_path, dataset='mnist')
  assert time.perf_counter() - start < 2


def test_a_set_in_another_format_is_refused(tmp_path):
  tiny_tfds.prepare(tmp_path, file_format='parquet')
  with pytest.raises(errors.DataNotFound, match='holds parquet.*array_record'):
    load(tmp_path)


def test_versions(tmp_path):
  tiny_tfds.prepare(tmp_path)
  assert len(load(tmp_path, dataset='tiny:1.0.0')) == 12
  with pytest.raises(errors.DataNotFound, match='there: 1.0.0'):
    load(tmp_path, dataset='tiny:3.0.0')
  tiny_tfds.prepare(tmp_path, version='2.0.0', sizes=(6, 5))
  with pytest.raises(errors.ConfigError, match='1.0.0, 2.0.0: say which'):
    load(tmp_path)
  assert len(load(tmp_path, dataset='tiny:2.0.0')) == 6


@pytest.mark.parametrize('chunk', [1, 1024])
@pytest.mark.parametrize('in_memory', [True, False])
def test_images_of_other_shapes_are_refused_by_row(
  tmp_path, monkeypatch, chunk, in_memory
):
  monkeypatch.setattr('unlearn_jax.data.tfds._CHUNK', chunk)
  tiny_tfds.prepare(tmp_path, shapes=((4, 4, 1), (5, 4, 1)), sizes=(2, 1))
  with pytest.raises(errors.DataError, match='__1: an image is not'):
    load(tmp_path, in_memory=in_memory)


def test_classes_out_of_range_are_refused_by_row(folder):
  with pytest.raises(errors.DataError, match=r'train.*__\d+.*classes are 0..1'):
    load(folder, num_classes=2)


@pytest.mark.parametrize(
  'spoil',
  [
    lambda data: data[: len(data) // 2],
    lambda data: data[:400] + b'damaged' + data[407:],
    lambda data: b'',
  ],
)
def test_a_damaged_file_is_refused(tmp_path, spoil):
  tiny_tfds.prepare(tmp_path, sizes=(100, 5))
  (file,) = tmp_path.glob('tiny/1.0.0/tiny-train*')
  file.write_bytes(spoil(file.read_bytes()))
  with pytest.raises(errors.DataError, match='cannot be read'):
    load(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
  tiny_tfds.prepare(tmp_path)
  (file,) = tmp_path.glob('tiny/1.0.0/tiny-train*')
  file.unlink()
  with pytest.raises(errors.DataError, match='cannot be read.*tiny-train'):
    load(tmp_path)


@pytest.mark.parametrize(
  ('settings', 'reason'),
  [
    ({'split': 'trian'}, "'trian' of tiny.*train, test"),
    ({'split': 'train[:0]'}, 'no rows'),
    ({'image_key': 'img'}, "'img'.*image"),
    ({'label_key': 'labels'}, "'labels'.*'label'"),
    ({'owner_key': 'who'}, "'who'.*person"),
    ({'label_key': 'person'}, 'give num_classes'),
  ],
)
def test_bad_settings_are_refused(folder, settings, reason):
  with pytest.raises((errors.ConfigError, errors.UnknownName), match=reason):
    load(folder, **settings)
