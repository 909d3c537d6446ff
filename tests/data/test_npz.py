"""The user's own arrays: splits that stay put, and every kind of wrong."""

import numpy as np
import pytest

from tests.data import makers
from unlearn_jax import errors, registry


def load(folder, arrays=None, **kwargs):
  """The data set of `arrays` written to a file."""
  file = folder / 'own.npz'
  if arrays is not None:
    np.savez(file, **arrays)
  kwargs = {'num_classes': 4} | kwargs
  return registry.make('data', 'npz', file=file, **kwargs)


def changed(key, change):
  """`makers.arrays` with one array replaced by `change` of itself."""
  arrays = makers.arrays()
  return arrays | {key: change(arrays[key])}


def put(value, at=6):
  def change(array):
    array = array.copy()
    array[at] = value
    return array

  return change


def test_content(tmp_path):
  arrays = makers.arrays()
  dataset = load(tmp_path, arrays, mean=[1.0, 2.0, 3.0], std=2.0)
  assert dataset.ids.tolist() == arrays['id'].tolist()
  assert dataset.owners.tolist() == arrays['owner'].tolist()
  assert dataset.labels.tolist() == arrays['y'].tolist()
  np.testing.assert_allclose(
    dataset.all().x, (arrays['x'] - [[1, 2, 3]]) / 2, rtol=0, atol=1e-6
  )


def test_without_owners_everybody_owns_themselves(tmp_path):
  arrays = makers.arrays()
  del arrays['owner']
  dataset = load(tmp_path, arrays)
  np.testing.assert_array_equal(dataset.owners, dataset.ids)


def test_regression(tmp_path):
  targets = np.arange(30.0).reshape(15, 2)
  dataset = load(
    tmp_path,
    changed('y', lambda y: targets),
    task='regression',
    num_classes=None,
  )
  assert dataset.task.num_outputs == 2
  assert dataset.labels.dtype == np.float32
  np.testing.assert_array_equal(dataset.labels, targets.astype(np.float32))
  one = load(tmp_path, makers.arrays(), task='regression', num_classes=None)
  assert one.labels.shape == (15, 1)


BAD_ARRAYS = {
  'nan': ('x', put(np.nan), 'row 6.*NaN'),
  'inf': ('x', put(-np.inf), 'row 6.*infinite'),
  'beyond float32': ('x', put(1e39), 'row 6.*beyond float32'),
  'text input': ('x', lambda x: x.astype(str), 'inputs are numbers'),
  'flat input': ('x', lambda x: x[:, 0], 'inputs need a shape'),
  'objects': ('x', lambda x: x.astype(object), 'cannot be read'),
  'short': ('y', lambda y: y[:-1], 'disagree.*14'),
  'scalar id': ('id', lambda ids: ids[0], 'disagree'),
  'short owner': ('owner', lambda o: o[:-1], 'disagree.*14'),
  'class 4': ('y', put(4), r'row 6: classes are 0..3, got \[4\]'),
  'class -1': ('y', put(-1), r'row 6: classes are 0..3, got \[-1\]'),
  'float class': ('y', lambda y: y * 1.0, 'classes are integers'),
  'twice': ('id', put('user2'), "row 2, row 6: the same id 'user2'"),
  'no name': ('id', put(''), 'row 6: an id is empty'),
  'float id': ('id', lambda ids: np.arange(15.0), 'integers or strings'),
  'bytes id': ('id', lambda ids: ids.astype('S'), 'integers or strings'),
  'id matrix': ('id', lambda ids: ids[:, None], r'shape \[n\]'),
  'huge id': (
    'id',
    lambda ids: np.arange(15, dtype=np.uint64) + np.uint64(2**63 - 14),
    'row 14: an id is beyond int64',
  ),
  'float owner': ('owner', lambda o: o * 1.0, 'owners are integers'),
}


@pytest.mark.parametrize('case', BAD_ARRAYS)
def test_a_bad_array_is_refused_with_row_and_reason(tmp_path, case):
  key, change, reason = BAD_ARRAYS[case]
  with pytest.raises(errors.DataError, match=f'own.npz.*{reason}'):
    load(tmp_path, changed(key, change))


def test_many_bad_rows_are_counted(tmp_path):
  with pytest.raises(errors.DataError, match='row 0.*row 4 and 10 more: '):
    load(tmp_path, changed('x', lambda x: x * np.nan))


def test_a_bad_target_is_refused(tmp_path):
  regression = {'task': 'regression', 'num_classes': None}
  with pytest.raises(errors.DataError, match='row 6: a target is NaN'):
    load(tmp_path, changed('y', lambda y: put(np.nan)(y * 1.0)), **regression)
  with pytest.raises(errors.DataError, match='targets are numbers'):
    load(tmp_path, changed('y', lambda y: y.astype(str)), **regression)


def test_bad_files(tmp_path):
  file = tmp_path / 'own.npz'
  with pytest.raises(errors.DataNotFound, match='own.npz'):
    load(tmp_path)
  file.write_bytes(b'not a zip')
  with pytest.raises(errors.DataError, match='own.npz cannot be read'):
    load(tmp_path)
  np.savez(file, **makers.arrays())
  file.write_bytes(file.read_bytes()[:-60])
  with pytest.raises(errors.DataError, match='own.npz cannot be read'):
    load(tmp_path)
  with open(file, 'wb') as f:
    np.save(f, np.zeros(3))
  with pytest.raises(errors.DataError, match='one array'):
    load(tmp_path)
  with pytest.raises(errors.DataError, match='nothing reads: owners'):
    load(tmp_path, makers.arrays() | {'owners': np.arange(15)})
  with pytest.raises(errors.DataError, match="no array y; it has .'id', 'x'"):
    load(tmp_path, {'x': np.zeros((2, 2)), 'id': np.arange(2)})


def test_ids_by_row_must_be_asked_for(tmp_path):
  arrays = makers.arrays()
  with pytest.raises(errors.ConfigError, match='throw ids away'):
    load(tmp_path, arrays, ids='row')
  with pytest.raises(errors.UnknownName, match="'rows'.*key, row"):
    load(tmp_path, arrays, ids='rows')
  del arrays['id']
  with pytest.raises(errors.DataError, match="must be yours.*ids='row'"):
    load(tmp_path, arrays)
  with pytest.raises(errors.DataError, match='disagree'):
    load(tmp_path, {'x': 1.0, 'y': 1}, ids='row')
  assert load(tmp_path, arrays, ids='row').ids.tolist() == list(range(15))


@pytest.mark.parametrize(
  ('settings', 'reason'),
  [
    ({'num_classes': None}, 'num_classes must be given'),
    ({'task': 'regression'}, 'num_classes must be given'),
    ({'std': 0.0}, 'std positive'),
    ({'std': 1e-50}, 'std positive'),
    ({'mean': np.nan}, 'mean must be finite'),
    ({'mean': [1.0, 2.0]}, 'broadcast'),
    ({'mean': [[1.0, 2.0, 3.0]]}, 'broadcast'),
    ({'mean': 'none'}, 'broadcast'),
    ({'split': 'test'}, 'needs test_percent'),
    ({'test_percent': 100}, 'below 100'),
    ({'test_percent': -1}, 'at least 0'),
  ],
)
def test_bad_settings_are_refused(tmp_path, settings, reason):
  with pytest.raises(errors.ConfigError, match=reason):
    load(tmp_path, makers.arrays(), **settings)
  with pytest.raises(errors.UnknownName, match="'ranking'"):
    load(tmp_path, makers.arrays(), task='ranking', num_classes=None)


def big(owners=True):
  count = 2000
  arrays = {
    'x': np.zeros((count, 1), np.float16),
    'y': np.zeros(count, np.int64),
    'id': np.arange(count) + 10**12,
  }
  return arrays | ({'owner': np.arange(count) // 5} if owners else {})


@pytest.mark.parametrize('owners', [True, False])
def test_splits_part_the_file_and_stay_put(tmp_path, owners):
  arrays = big(owners)
  part = {
    split: load(tmp_path, arrays, split=split, test_percent=30)
    for split in ('train', 'test', 'all')
  }
  test = set(part['test'].ids.tolist())
  assert test | set(part['train'].ids.tolist()) == set(arrays['id'].tolist())
  assert len(part['test']) + len(part['train']) == len(part['all']) == 2000
  assert 450 < len(test) < 750
  assert not set(part['test'].owners) & set(part['train'].owners)
  # Removing and reordering rows moves nobody to the other side.
  kept = np.random.default_rng(0).permutation(2000)[:700]
  fewer = {key: array[kept] for key, array in arrays.items()}
  left = load(tmp_path, fewer, split='test', test_percent=30)
  assert set(left.ids.tolist()) == test & set(fewer['id'].tolist())
  # A larger test split only adds.
  more = load(tmp_path, arrays, split='test', test_percent=40)
  assert test < set(more.ids.tolist())


def test_what_is_left_when_everybody_is_deleted_can_be_opened(tmp_path):
  nobody = {key: array[:0] for key, array in makers.arrays().items()}
  assert len(load(tmp_path, nobody)) == 0


def test_a_changed_number_changes_the_digest_of_its_row(tmp_path):
  before = load(tmp_path, makers.arrays()).content_digests()
  for key, value in (('x', 0.5), ('y', 3)):
    after = load(tmp_path, changed(key, put(value))).content_digests()
    assert np.flatnonzero((after != before).any(1)).tolist() == [6]


def _patched(folder, at, value):
  """A compressed archive with one field of its first member overwritten."""
  file = folder / 'own.npz'
  np.savez_compressed(file, **makers.arrays())
  data = bytearray(file.read_bytes())
  for start in (0, data.find(b'PK\x01\x02')):
    place = start + at + (0 if start == 0 else 2)
    data[place : place + len(value)] = value
  file.write_bytes(data)


@pytest.mark.parametrize(
  'at, value',
  [(6, b'\x01\x00'), (8, b'\x63\x00')],
  ids=['encrypted', 'unknown compression'],
)
def test_archives_that_python_cannot_unpack_are_refused(tmp_path, at, value):
  _patched(tmp_path, at, value)
  with pytest.raises(errors.DataError, match='own.npz cannot be read'):
    load(tmp_path)


def test_damage_inside_compressed_data_is_refused(tmp_path):
  file = tmp_path / 'own.npz'
  np.savez_compressed(file, **makers.arrays())
  whole, expected = file.read_bytes(), load(tmp_path).content_digests()
  refused = 0
  for at in range(45, 200):
    data = bytearray(whole)
    data[at] ^= 0xFF
    file.write_bytes(data)
    try:  # Some bytes of a header matter to nobody.
      np.testing.assert_array_equal(load(tmp_path).content_digests(), expected)
    except errors.DataError as error:
      assert 'own.npz' in str(error)
      refused += 1
  assert refused > 100
