"""CSV files: what columns become, and every kind of wrong."""

import time

import numpy as np
import pytest

from tests.data import makers
from unlearn_jax import errors, registry


def load(folder, text=makers.CSV, **kwargs):
  kwargs = makers.write_csv(folder, text) | kwargs
  return registry.make('data', 'tabular', **kwargs)


def test_content(tmp_path):
  dataset = load(tmp_path)
  assert dataset.ids.tolist() == ['ann', 'bob', 'cyd', 'dan', 'eve']
  assert dataset.labels.tolist() == [0, 1, 1, 0, 0]
  age = (np.float32([31, 47, 25, 62, 38]) - 40) / 12
  expected = np.stack([age, [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]], axis=1)
  np.testing.assert_array_equal(dataset.all().x, np.float32(expected))


def test_regression_and_owner(tmp_path):
  dataset = load(
    tmp_path,
    task='regression',
    label='age',
    classes=(),
    numeric={},
    label_scale=(40, 10),
    owner='sex',
  )
  np.testing.assert_allclose(
    dataset.labels, [[-0.9], [0.7], [-1.5], [2.2], [-0.2]], rtol=1e-6
  )
  assert dataset.owners.tolist() == list('FMFMF')
  assert dataset.input_shape == (2,)


def test_no_header_other_delimiter_comments_and_blank_lines(tmp_path):
  plain = load(tmp_path)
  lines = makers.CSV.replace(',', ';').splitlines()[1:]
  text = '\n'.join(['# "odd', *lines[:2], '', '# two', *lines[2:], '', ''])
  other = load(
    tmp_path,
    text,
    columns=('name', 'age', 'sex', 'income'),
    delimiter=';',
    comment='#',
  )
  np.testing.assert_array_equal(
    other.content_digests(), plain.content_digests()
  )
  wrong = text.replace('25', 'x')
  with pytest.raises(errors.DataError, match="line 6: column 'age' holds 'x'"):
    load(
      tmp_path,
      wrong,
      columns=('name', 'age', 'sex', 'income'),
      delimiter=';',
      comment='#',
    )


def test_quoted_cells_and_a_byte_order_mark(tmp_path):
  text = '\ufeff' + makers.CSV.replace('bob', '"bob, the\n2nd"')
  dataset = load(tmp_path, text)
  assert dataset.ids[1] == 'bob, the\n2nd'
  with pytest.raises(errors.DataError, match="line 5.*'cold'"):
    load(tmp_path, text.replace('F, high', 'cold, high'))


def test_blanks_matter_only_without_strip(tmp_path):
  with pytest.raises(errors.UnknownName, match="column.* 'age'"):
    load(tmp_path, strip=False)
  assert len(load(tmp_path, makers.CSV.replace(', ', ','), strip=False)) == 5


def test_a_missing_number(tmp_path):
  text = makers.CSV.replace('25', '')
  with pytest.raises(errors.DataError, match="line 4: column 'age' is empty"):
    load(tmp_path, text)
  some, none = (
    load(tmp_path, t, missing='indicator') for t in (text, makers.CSV)
  )
  # The layout is declared: no row decides whether the column is there.
  assert some.input_shape == none.input_shape == (4,)
  np.testing.assert_array_equal(some.all().x[2], [0, 1, 1, 0])
  np.testing.assert_array_equal(some.all().x[[0, 1, 3, 4], 1], [0] * 4)
  np.testing.assert_array_equal(none.all().x[:, 1], [0] * 5)
  with pytest.raises(errors.DataError, match="line 4: column 'age' is empty"):
    load(
      tmp_path,
      text,
      missing='indicator',
      task='regression',
      label='age',
      classes=(),
      numeric={},
    )


BAD_CSV = {
  'not a number': (('25', 'old'), "line 4: column 'age' holds 'old'"),
  'python number': (('25', '2_5'), "line 4: column 'age' holds '2_5'"),
  'nan': (('25', 'nan'), "line 4: column 'age' is NaN"),
  'beyond float32': (('25', '1e39'), "line 4: column 'age' .*beyond float32"),
  'word': (('F, high', 'X, high'), "line 4: column 'sex' holds 'X'.*'F', 'M'"),
  'class': (('F, high', 'F, '), "line 4: column 'income' holds ''.*'low'"),
  'ragged': (('25, F', '25'), 'line 4: not 4 cells'),
  'id twice': (('cyd', 'ann'), "line 2, line 4: the same id 'ann'"),
  'no id': (('cyd', ''), 'line 4: an id is empty'),
  'columns twice': (('age, sex', 'sex, sex'), r"repeats .*\['sex'\]"),
  'open quote': (('cyd', '"cyd'), 'after line 3'),
}


@pytest.mark.parametrize('case', BAD_CSV)
def test_a_bad_cell_is_refused_with_line_and_column(tmp_path, case):
  (old, new), reason = BAD_CSV[case]
  with pytest.raises(errors.DataError, match=f'own.csv.*{reason}'):
    load(tmp_path, makers.CSV.replace(old, new))


def test_bad_files(tmp_path):
  kwargs = makers.write_csv(tmp_path)
  with pytest.raises(errors.DataNotFound, match='none.csv'):
    registry.make('data', 'tabular', **kwargs | {'file': 'none.csv'})
  with pytest.raises(errors.DataError, match='no line that names'):
    load(tmp_path, '')
  kwargs['file'].write_bytes(b'name,age\n\xff\xfe,1\n')
  with pytest.raises(errors.DataError, match='own.csv cannot be read'):
    registry.make('data', 'tabular', **kwargs)


@pytest.mark.parametrize(
  'settings',
  [
    {'numeric': {'agee': (0, 1)}},
    {'categorical': {'agee': ('F',)}},
    {'label': 'agee'},
    {'id': 'agee'},
    {'owner': 'agee'},
  ],
)
def test_an_unknown_column_names_near_ones(tmp_path, settings):
  with pytest.raises(errors.UnknownName, match="'agee'.*mean 'age'.*income"):
    load(tmp_path, **settings)


@pytest.mark.parametrize(
  ('settings', 'reason'),
  [
    ({'classes': ()}, 'classes are declared'),
    ({'task': 'regression'}, 'classes are declared'),
    ({'classes': ('low', 'low')}, "words of 'income' repeat"),
    ({'categorical': {'sex': ('F', 'F')}}, "words of 'sex' repeat"),
    ({'categorical': {'age': ('31',)}}, r"\['age'\] are declared twice"),
    ({'numeric': {'income': (0, 1)}}, r"\['income'\] are declared twice"),
    ({'numeric': {}, 'categorical': {}}, 'no inputs'),
    ({'numeric': {'age': (0, 0)}}, 'std positive'),
    ({'label_scale': (0, 0)}, 'label_scale'),
    ({'missing': 'drop'}, "'drop'.*indicator, refuse"),
    ({'task': 'ranking'}, "'ranking'"),
  ],
)
def test_bad_settings_are_refused(tmp_path, settings, reason):
  with pytest.raises((errors.ConfigError, errors.UnknownName), match=reason):
    load(tmp_path, **settings)


def test_ids_by_row(tmp_path):
  assert load(tmp_path, id='row').ids.tolist() == [0, 1, 2, 3, 4]
  with pytest.raises(errors.ConfigError, match='rename'):
    load(tmp_path, makers.CSV.replace('name', 'row'), id='row')


def test_an_owner_never_stands_on_both_sides(tmp_path):
  rows = [f'r{i},{i % 7},F,low,o{i // 4}' for i in range(800)]
  text = '\n'.join(['name,age,sex,income,owner', *rows])
  train, test = (
    load(tmp_path, text, split=split, test_percent=25, owner='owner')
    for split in ('train', 'test')
  )
  assert len(train) + len(test) == 800
  assert 120 < len(test) < 280
  assert not set(train.owners) & set(test.owners)


def test_a_large_file_loads_fast(tmp_path):
  rows = [f'r{i}, {i % 90}, {"FM"[i % 2]}, low' for i in range(32_000)]
  text = '\n'.join(['name, age, sex, income', *rows])
  start = time.perf_counter()
  assert len(load(tmp_path, text)) == 32_000
  assert time.perf_counter() - start < 3  # 0.1 s; a row-wise loop takes longer


def test_what_is_left_when_everybody_is_deleted_can_be_opened(tmp_path):
  dataset = load(tmp_path, makers.CSV.splitlines()[0])
  assert dataset.all().x.shape == (0, 3)
