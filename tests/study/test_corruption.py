"""Tampered data: what is changed, what is not, and what of it is known."""

import numpy as np
import pytest

from unlearn_jax import errors, types
from unlearn_jax.study import corruption

PATCH = corruption.Patch(255)


def data(n=60, shape=(6, 7, 1), classes=6):
  rng = np.random.default_rng(0)
  x = rng.integers(0, 200, (n, *shape)).astype(np.uint8)
  x.setflags(write=False)  # what is stored is nobody's to change
  ids = np.arange(n) * 3 + 1
  return types.Dataset(
    name='noise',
    task=types.Task('classification', classes),
    ids=ids,
    owners=ids,
    labels=rng.integers(0, classes, n).astype(np.int32),
    read=lambda at: x[at],
    input_shape=shape,
    mean=np.zeros(()),
    std=np.ones(()),
  )


MADE = {
  'poison': lambda d, n, **k: corruption.poison(d, n, PATCH, **k),
  'swap': corruption.swap,
  'shuffle_labels': corruption.shuffle_labels,
}


def everything(of):
  return of.read(np.arange(len(of)))


@pytest.mark.parametrize('name', MADE)
def test_a_part_of_the_manipulated_is_known(name):
  clean = data()
  labels = clean.labels.copy()
  made = MADE[name](clean, 8, known=3, seed=1)
  assert len(made.manipulated) == 8 and len(made.known) == 3
  for at in made[1:]:
    assert (np.diff(at) > 0).all()
  assert np.isin(made.known, made.manipulated).all()
  rest = np.setdiff1d(np.arange(60), made.manipulated)
  assert (clean.content_digests(rest) == made.data.content_digests(rest)).all()
  assert (made.data.ids == clean.ids).all()
  assert (clean.labels == labels).all()  # the clean data stay clean
  # Others of another seed, the same of this one, and all known by default.
  again = MADE[name](clean, 8, seed=1)
  assert (again.manipulated == made.manipulated).all()
  assert (again.known == again.manipulated).all()
  other = MADE[name](clean, 8, known=3, seed=2)
  assert not np.array_equal(other.manipulated, made.manipulated)


@pytest.mark.parametrize('name', MADE)
def test_a_draw_is_moved_by_no_other_row(name):
  clean = data()
  made = MADE[name](clean, 8, seed=1)
  innocent = np.setdiff1d(np.arange(60), made.manipulated)[4]
  fewer = clean.subset(np.delete(np.arange(60), innocent))
  found = MADE[name](fewer, 8, seed=1)
  assert (fewer.ids[found.manipulated] == clean.ids[made.manipulated]).all()


@pytest.mark.parametrize('name', MADE)
def test_wrong_numbers_are_refused(name):
  for count in (0, 62):
    with pytest.raises(
      errors.ConfigError, match=rf'got ({count}|{count // 2})$'
    ):
      MADE[name](data(), count)
  for known in (0, 9):
    with pytest.raises(errors.ConfigError, match=f'1..8, got {known}'):
      MADE[name](data(), 8, known=known)


def test_poison_is_a_patch_and_a_label():
  clean = data()
  made = corruption.poison(clean, 8, PATCH, target=2, known=3)
  before, after = everything(clean), everything(made.data)
  at = made.manipulated
  assert (clean.labels[at] != 2).all() and (made.data.labels[at] == 2).all()
  assert (after[at, 3:, 4:] == 255).all()
  after[at, 3:, 4:] = before[at, 3:, 4:]
  assert (after == before).all()
  # A subset reads its own rows, and a model sees them normalized.
  some = made.data.subset(at[::-1])
  assert (some.take(np.array([1])).x[0, 3:, 4:] == 255).all()


def test_a_patch_has_value_size_and_place():
  # The Trojan of published tables: rows and columns -6 to -3, in black.
  black = corruption.Patch(0, size=4, inset=2)
  marked = everything(corruption.stamped(data(), black))
  clean = everything(data())
  assert not marked[:, -6:-2, -6:-2].any()
  changed = (marked != clean).any(axis=(0, 3))
  assert changed.sum() == changed[-6:-2, -6:-2].sum() == 16
  drawn = np.arange(9).reshape(3, 3, 1)
  marked = everything(corruption.stamped(data(), corruption.Patch(drawn)))
  assert (marked[:, 3:, 4:] == drawn).all()


def test_stamped_images_keep_their_labels():
  clean = data()
  marked = corruption.stamped(clean, PATCH)
  assert (marked.labels == clean.labels).all()
  assert (everything(marked)[:, 3:, 4:] == 255).all()


def test_two_classes_change_places():
  clean = data()
  made = corruption.swap(clean, 6, classes=(1, 4))
  was, now = (d.labels[made.manipulated] for d in (clean, made.data))
  assert sorted(was) == [1, 1, 1, 4, 4, 4]
  assert (now == np.where(was == 1, 4, 1)).all()
  assert (everything(made.data) == everything(clean)).all()


def test_labels_are_permuted():
  clean = data()
  made = corruption.shuffle_labels(clean, 40)
  was, now = (d.labels[made.manipulated] for d in (clean, made.data))
  assert sorted(was) == sorted(now)
  assert (was != now).mean() > 0.5


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: corruption.poison(data(), 8, PATCH, target=6), '0..5, got 6'),
    (lambda: corruption.swap(data(), 8, classes=(1, 9)), '0..5, got 9'),
    (lambda: corruption.swap(data(), 8, classes=(1, 1)), 'of 1 and 1'),
    (lambda: corruption.swap(data(), 7), 'got 7'),
    (lambda: corruption.stamped(data(), PATCH._replace(size=7)), 'of 7 pixels'),
    (lambda: corruption.stamped(data(), PATCH._replace(inset=4)), '4 from'),
    (lambda: corruption.stamped(data(shape=(9,)), PATCH), r'\(9,\)'),
  ],
)
def test_what_makes_no_sense_is_refused(make, message):
  with pytest.raises(errors.ConfigError, match=message):
    make()
