"""What every data set must do. A new file joins by an entry in `makers.py`."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from tests.data import makers
from unlearn_jax import errors, registry

NAMES = registry.available('data')


@pytest.fixture(scope='module', params=NAMES)
def made(request, tmp_path_factory):
  """(name, arguments, data set); one per module, the sets are immutable."""
  if request.param not in makers.MAKERS:
    pytest.fail(
      f'unlearn_jax/data/{request.param}.py has no entry in MAKERS of '
      'tests/data/makers.py: add a function that writes a tiny one'
    )
  kwargs = makers.MAKERS[request.param](tmp_path_factory.mktemp('data'))
  return request.param, kwargs, registry.make('data', request.param, **kwargs)


def test_no_entry_without_a_file():
  assert set(makers.MAKERS) == set(NAMES)


def test_ids_owners_and_labels(made):
  _, _, dataset = made
  assert len(dataset) > 3
  for names in (dataset.ids, dataset.owners):
    assert names.shape == (len(dataset),)
    assert names.dtype == np.int64 or names.dtype.kind == 'U'
  assert len(set(dataset.ids.tolist())) == len(dataset)
  if dataset.task.kind == 'regression':
    assert dataset.labels.dtype == np.float32
    assert dataset.labels.shape == (len(dataset), dataset.task.num_outputs)
    assert np.isfinite(dataset.labels).all()
    return
  assert dataset.labels.dtype == np.int32
  assert dataset.labels.shape == (len(dataset),)
  assert dataset.labels.min() >= 0
  assert dataset.labels.max() < dataset.task.num_outputs


def test_making_it_again_gives_the_same(made):
  name, kwargs, dataset = made
  again = registry.make('data', name, **kwargs)
  np.testing.assert_array_equal(again.ids, dataset.ids)
  np.testing.assert_array_equal(again.owners, dataset.owners)
  np.testing.assert_array_equal(
    again.content_digests(), dataset.content_digests()
  )


def test_take(made):
  _, _, dataset = made
  positions = np.array([2, 0, 1, 2])
  rows = dataset.take(positions)
  assert rows.x.shape == (4, *dataset.input_shape)
  assert rows.x.dtype == np.float32
  assert np.isfinite(rows.x).all()
  np.testing.assert_array_equal(rows.x, dataset.take(positions).x)
  for whole, part in zip(dataset.all(), rows, strict=True):
    np.testing.assert_array_equal(whole[positions], part)
  raw = dataset.read(positions).astype(np.float32)
  mean, std = np.float32(dataset.mean), np.float32(dataset.std)
  np.testing.assert_array_equal(rows.x, (raw - mean) / std)
  assert dataset.take([]).x.shape == (0, *dataset.input_shape)


def test_what_is_read_belongs_to_the_reader(made):
  _, _, dataset = made
  before = dataset.content_digests()
  dataset.read(np.array([0, 1]))[:] = 0
  np.testing.assert_array_equal(dataset.content_digests(), before)


def test_positions_of(made):
  _, _, dataset = made
  positions = np.array([3, 0, 2])
  np.testing.assert_array_equal(
    dataset.positions_of(dataset.ids[positions]), positions
  )
  unknown = -7 if dataset.ids.dtype == np.int64 else 'nobody'
  with pytest.raises(errors.UnknownId, match=str(unknown)):
    dataset.positions_of([dataset.ids[0].item(), unknown])


def test_subset(made):
  _, _, dataset = made
  part = dataset.subset([3, 1]).subset([1, 0])
  for ours, whole in zip(part.all(), dataset.take([1, 3]), strict=True):
    np.testing.assert_array_equal(ours, whole)
  np.testing.assert_array_equal(
    part.content_digests(), dataset.content_digests([1, 3])
  )


def test_a_changed_pixel_or_label_changes_one_digest(made):
  _, _, dataset = made
  digests = dataset.content_digests()
  assert digests.shape == (len(dataset), 32)

  def read(positions):
    x = dataset.read(positions).copy()
    x.reshape(len(x), -1)[positions == 1, 0] += 1
    return x

  labels = dataset.labels.copy()
  labels[1] += 1
  for change in ({'read': read}, {'labels': labels}):
    changed = dataclasses.replace(dataset, **change).content_digests()
    different = (changed != digests).any(1)
    np.testing.assert_array_equal(np.flatnonzero(different), [1])


def test_an_unknown_keyword_is_named(made):
  name, kwargs, _ = made
  with pytest.raises(
    errors.UnknownArgument, match="'spilt'.*data/|data/.*'spilt'"
  ):
    registry.make('data', name, **kwargs, spilt='test')


def test_an_unknown_split_is_named(made):
  name, kwargs, _ = made
  with pytest.raises((errors.UnknownName, errors.ConfigError), match='tset'):
    registry.make('data', name, **{**kwargs, 'split': 'tset'})


def test_import_brings_no_tensorflow_and_no_tfds():
  code = (
    'import sys\n'
    'from unlearn_jax import registry\n'
    "for n in registry.available('data'): registry.get('data', n)\n"
    "print(sorted({'tensorflow', 'tensorflow_datasets'} & set(sys.modules)))"
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == '[]', done.stdout
