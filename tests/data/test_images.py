"""The official formats of images: what is right, and every kind of wrong."""

import gzip
import lzma
import pathlib
import shutil
import struct

import numpy as np
import pytest

import unlearn_jax
from tests.data import makers, tiny_tfds
from unlearn_jax import errors, registry

CLONED = (
  pathlib.Path(unlearn_jax.__file__).parents[1] / 'third_party/fashion_mnist'
)
IMAGES, LABELS = 'train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'


def load(name, **kwargs):
  return registry.make('data', name, **kwargs)


def test_digits():
  train, test = load('digits'), load('digits', split='test')
  whole = load('digits', split='all')
  np.testing.assert_array_equal(whole.ids, np.arange(1797))
  assert (len(train), len(test)) == (1437, 360)
  assert (test.ids % 5 == 0).all() and (train.ids % 5 != 0).all()
  np.testing.assert_array_equal(
    test.all().x, whole.take(whole.positions_of(test.ids)).x
  )
  assert whole.input_shape == (8, 8, 1)
  assert (whole.all().x.min(), whole.all().x.max()) == (0, 1)


def test_fashion_mnist_of_the_clone():
  train, test = (load('fashion_mnist', split=s) for s in ('train', 'test'))
  np.testing.assert_array_equal(train.ids, np.arange(60_000))
  np.testing.assert_array_equal(test.ids, np.arange(60_000, 70_000))
  np.testing.assert_array_equal(np.bincount(train.labels), [6000] * 10)
  np.testing.assert_array_equal(np.bincount(test.labels), [1000] * 10)
  assert train.labels[:3].tolist() == [9, 0, 0]  # boot, two shirts
  x = train.take(np.arange(0, 60_000, 7)).x
  assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01


@pytest.mark.parametrize('name', [IMAGES, LABELS])
def test_a_flipped_byte_of_fashion_mnist_is_refused(tmp_path, name):
  for file in CLONED.glob('train-*.gz'):
    shutil.copy(file, tmp_path)
  data = bytearray((tmp_path / name).read_bytes())
  data[len(data) // 2] ^= 1
  (tmp_path / name).write_bytes(data)
  with pytest.raises(errors.DataError, match=f'{name}.*SHA-256'):
    load('fashion_mnist', folder=tmp_path)
  with pytest.raises(errors.DataError, match=f'{name}'):  # gzip's own checksum
    load('fashion_mnist', folder=tmp_path, verify=False)


def test_the_first_rows_of_fashion_mnist(tmp_path):
  folder = makers.write_idx(tmp_path)
  first, whole, test = (
    load('fashion_mnist', **folder, **more)
    for more in ({'rows': 7}, {}, {'rows': 7, 'split': 'test'})
  )
  assert first.ids.tolist() == list(range(7)) and len(test) == 8
  np.testing.assert_array_equal(first.all().x, whole.take(np.arange(7)).x)
  for rows in (0, 21):
    with pytest.raises(
      errors.ConfigError, match=f'between 1 and 20, got {rows}'
    ):
      load('fashion_mnist', **folder, rows=rows)
  with pytest.raises(errors.ConfigError, match="not for 'all'"):
    load('fashion_mnist', **folder, rows=7, split='all')


@pytest.mark.parametrize('name', ['mnist', 'fashion_mnist'])
def test_idx_content_and_ids(tmp_path, name):
  kwargs = makers.write_idx(tmp_path)
  with pytest.raises(errors.DataError, match='SHA-256'):
    load(name, folder=tmp_path)
  whole = load(name, **kwargs, split='all')
  assert whole.ids.tolist() == [*range(20), *range(60_000, 60_008)]
  assert whole.labels.tolist() == [i % 10 for i in [*range(20), *range(8)]]
  x = whole.read(np.arange(28))
  assert x.dtype == np.uint8
  np.testing.assert_array_equal(x[:20, ..., 0], makers.images(20, (28, 28)))
  np.testing.assert_array_equal(x[20:, ..., 0], makers.images(8, (28, 28)))


BAD_IDX = {
  'not gzip': (IMAGES, lambda good: b'no', 'whole gzip'),
  'cut gzip': (IMAGES, lambda good: gzip.compress(good)[:-20], 'whole gzip'),
  'cut payload': (IMAGES, lambda good: gzip.compress(good[:-1]), '15679 bytes'),
  'too long': (LABELS, lambda good: gzip.compress(good + b'x'), '21 bytes'),
  'no header': (LABELS, lambda good: gzip.compress(b'abc'), 'no idx header'),
  'magic': (
    IMAGES,
    lambda good: gzip.compress(b'\0\0\x0d\x03' + good[4:]),
    'magic number 0xd03',
  ),
  'counts': (
    LABELS,
    lambda good: gzip.compress(makers.idx_bytes(np.zeros(19, np.uint8))),
    'has 20 rows.* 19',
  ),
  'label': (
    LABELS,
    lambda good: gzip.compress(good[:-2] + b'\x0a\0'),
    'row 18: classes are 0..9',
  ),
  'size': (
    IMAGES,
    lambda good: gzip.compress(
      makers.idx_bytes(np.zeros((20, 27, 28), np.uint8))
    ),
    '28x28',
  ),
}


@pytest.mark.parametrize('case', BAD_IDX)
def test_a_bad_idx_file_is_refused_by_name(tmp_path, case):
  name, spoil, reason = BAD_IDX[case]
  kwargs = makers.write_idx(tmp_path)
  good = gzip.decompress((tmp_path / name).read_bytes())
  (tmp_path / name).write_bytes(spoil(good))
  with pytest.raises(errors.DataError, match=reason) as e:
    load('mnist', **kwargs)
  assert str(tmp_path / name) in str(e.value)


def test_a_missing_file_of_a_named_folder_is_no_reason_to_look_elsewhere(
  tmp_path,
):
  for name in ('mnist', 'fashion_mnist'):
    with pytest.raises(errors.DataNotFound, match='train-images'):
      load(name, folder=tmp_path)
  with pytest.raises(errors.DataNotFound, match='data_batch_1.bin'):
    load('cifar10', folder=tmp_path)


def test_all_ways_are_told_when_none_leads_to_the_data(tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  for name in ('mnist', 'cifar10'):
    with pytest.raises(errors.DataNotFound, match='folder.*tfds-prepare'):
      load(name)
  # As installed from a wheel: no third_party beside the package.
  monkeypatch.setattr(unlearn_jax, '__file__', str(tmp_path / 'a/b.py'))
  with pytest.raises(
    errors.DataNotFound, match='folder.*third_party.*tfds-prepare'
  ):
    load('fashion_mnist')


def test_a_set_prepared_by_tfds_is_the_last_way(tmp_path, monkeypatch, caplog):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  tiny_tfds.prepare(tmp_path, name='mnist', num_classes=10)
  caplog.set_level('INFO', logger='absl')
  found = load('mnist', split='all')
  assert len(found) == 17
  assert found.ids[0] == 'mnist-train.array_record-00000-of-00001__0'
  assert 'ids are those of TFDS' in caplog.text


def cifar_rows(file):
  return np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, 3073)


def test_cifar10_content_and_ids(tmp_path):
  kwargs = makers.write_cifar10(tmp_path)
  with pytest.raises(errors.DataError, match='data_batch_1.bin has 6 images'):
    load('cifar10', folder=tmp_path)
  train = load('cifar10', **kwargs, batches=(2, 5))
  assert train.ids.tolist() == [*range(10_000, 10_006), *range(40_000, 40_006)]
  row = cifar_rows(tmp_path / 'data_batch_5.bin')[3]
  assert train.labels[9] == row[0]
  pixels = train.read(np.array([9]))[0]
  assert pixels.shape == (32, 32, 3)
  assert pixels[4, 7, 2] == row[1 + 2 * 1024 + 4 * 32 + 7]
  whole = load('cifar10', **kwargs, split='all', exclude=(50_001, 3))
  assert len(whole) == 5 * 6 + 4 - 2
  assert not {3, 50_001} & set(whole.ids.tolist())
  with pytest.raises(errors.UnknownId, match='60000'):
    load('cifar10', **kwargs, exclude=(60_000,))
  with pytest.raises(errors.ConfigError, match='6'):
    load('cifar10', **kwargs, batches=(6,))


@pytest.mark.parametrize(
  ('ending', 'compress'), [('.gz', gzip.compress), ('.xz', lzma.compress)]
)
def test_cifar10_compressed(tmp_path, ending, compress):
  kwargs = makers.write_cifar10(tmp_path)
  plain = load('cifar10', **kwargs)
  for file in tmp_path.glob('*.bin'):
    data = compress(file.read_bytes())
    file.with_name(file.name + ending).write_bytes(data)
    file.unlink()
  packed = load('cifar10', **kwargs)
  np.testing.assert_array_equal(
    packed.content_digests(), plain.content_digests()
  )
  broken = tmp_path / f'data_batch_3.bin{ending}'
  broken.write_bytes(broken.read_bytes()[:-30])
  with pytest.raises(errors.DataError, match=f'{broken.name}.*decompressed'):
    load('cifar10', **kwargs)


def test_a_bad_cifar10_file_is_refused_by_name(tmp_path):
  kwargs = makers.write_cifar10(tmp_path)
  file = tmp_path / 'data_batch_4.bin'
  good = file.read_bytes()
  file.write_bytes(good[:-1])
  with pytest.raises(errors.DataError, match='data_batch_4.*multiple of 3073'):
    load('cifar10', **kwargs)
  file.write_bytes(good[: 3073 * 2] + b'\x0a' + good[3073 * 2 + 1 :])
  with pytest.raises(errors.DataError, match='data_batch_4.*row 2'):
    load('cifar10', **kwargs)


def test_batches_and_exclude_of_a_set_prepared_by_tfds(tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  tiny_tfds.prepare(
    tmp_path, name='cifar10', num_classes=10, shapes=((4, 3, 3),)
  )
  gone = 'cifar10-train.array_record-00000-of-00001__4'
  found = load('cifar10', exclude=(gone,))
  assert len(found) == 11 and gone not in found.ids
  with pytest.raises(errors.UnknownId):
    load('cifar10', exclude=('nobody',))
  with pytest.raises(errors.ConfigError, match='batches'):
    load('cifar10', batches=(1,))


@pytest.mark.parametrize('name', ['mnist', 'cifar10'])
def test_a_flipped_byte_of_a_file_changes_the_digest_of_its_row(tmp_path, name):
  kwargs = makers.MAKERS[name](tmp_path)
  before = load(name, **kwargs).content_digests()
  if name == 'mnist':
    data = bytearray(gzip.decompress((tmp_path / IMAGES).read_bytes()))
    data[struct.calcsize('>4I') + 5 * 784 + 100] ^= 1
    (tmp_path / IMAGES).write_bytes(gzip.compress(data))
  else:
    data = bytearray((tmp_path / 'data_batch_1.bin').read_bytes())
    data[5 * 3073 + 100] ^= 1
    (tmp_path / 'data_batch_1.bin').write_bytes(data)
  changed = (load(name, **kwargs).content_digests() != before).any(1)
  assert np.flatnonzero(changed).tolist() == [5]
