"""The benchmark on numbers instead of classes, and on what people own."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

from tests.study import test_benchmark
from unlearn_jax import errors, experiment, fields
from unlearn_jax.study import benchmark, leaks, matching, subsets

DIABETES = {'name': 'diabetes', 'split': 'all'}


def settings(**given):
  tiny = {
    'data': DIABETES,
    'rows': 60,
    'epochs': 10,
    'forget_sets': {'random 1': {'kind': 'random'}},
    'methods': {
      'blindspot': {'name': 'blindspot'},
      'gaussian_amnesiac': {'name': 'gaussian_amnesiac'},
      'exact': {'name': 'exact', 'shards': 1, 'slices': 2, 'epochs': 1},
    },
  }
  return test_benchmark.settings(**{**tiny, **given})


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
  folder = tmp_path_factory.mktemp('regression')
  return benchmark.run(settings(metrics=()), str(folder)), folder


def test_what_needs_classes_is_left_out_with_a_word(ran):
  summary, folder = ran
  rows = test_benchmark.rows_of(folder)
  found = {row['metric'] for row in rows if row['method'] == 'blindspot'}
  assert {'gap', 'MAE forget', 'MAE retain', 'MAE test', 'W1 forget'} <= found
  assert {'KLoM forget', 'told apart', 'logistic MIA', 'relearn'} <= found
  assert {'distance', 'CKA test', 'cost'} <= found
  assert not {'UA', 'MIA', 'ToW', 'ZRF', 'k-NN', 'NoMUS'} & found
  assert not any('undefined' in r for r in rows if r['metric'] in ('gap', 'W1'))
  out = summary['left out']['dense']
  assert out.startswith('accuracy, mia, corrective, attack, confusion, tow, ')
  assert out.endswith(' (looks at classes, and diabetes has none)')
  of_exact = {row['metric'] for row in rows if row['method'] == 'exact'}
  assert {'gap', 'W1 forget', 'cost'} <= of_exact


def test_a_regression_is_ranked_and_tuned_by_its_errors(ran):
  summary, folder = ran
  rows = test_benchmark.rows_of(folder)
  gap, *parts = (
    next(r for r in rows if (r['method'], r['metric']) == ('blindspot', name))
    for name in ('gap', 'MAE forget', 'MAE retain', 'MAE test')
  )
  mean = np.mean([np.abs(part['per_model']) for part in parts], axis=0)
  np.testing.assert_allclose(gap['per_model'], mean, atol=1e-4)
  assert len(gap['trials']) == 2 and gap['trials'][0]['gap'] > 0
  gaps = [x['metrics']['gap']['value'] for x in summary['leaderboard']]
  assert gaps == sorted(gaps)
  shown = experiment.shown(summary)[0]
  assert 'MAE forget' in shown and 'UA' not in shown


def test_targets_may_be_shuffled(tmp_path):
  arenas = {
    'noise': {'corruption': {'kind': 'shuffle_labels', 'count': 20, 'known': 5}}
  }
  found = settings(
    arenas=arenas,
    forget_sets={'manipulated': {'kind': 'manipulated'}},
    metrics=('gap', 'corrective'),
    methods={},
  )
  summary = benchmark.run(found, str(tmp_path))
  out = summary['left out']['noise']
  assert out == 'corrective (looks at classes, and diabetes has none)'
  names = {row['metric'] for row in test_benchmark.rows_of(tmp_path)}
  assert names == {'gap', 'MAE forget', 'MAE retain', 'MAE test'}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'forget_sets': {'c': {'kind': 'class'}}}, 'no classes to forget'),
    (
      {
        'arenas': {'x': {'corruption': {'kind': 'swap', 'count': 4}}},
      },
      'no classes to mislabel',
    ),
  ],
)
def test_what_needs_classes_is_refused(change, message, tmp_path, monkeypatch):
  monkeypatch.setattr(subsets.Ground, 'models', None)
  with pytest.raises(errors.ConfigError, match=message):
    benchmark.run(settings(**change), str(tmp_path))


def test_other_studies_are_of_classes(tmp_path):
  found = {**fields.leaks_config().to_dict(), 'data': DIABETES, 'rows': 60}
  found |= {'control_rows': 20, 'validation_rows': 60, 'forget_size': 5}
  with pytest.raises(errors.ConfigError, match='a regression'):
    leaks.run(found, str(tmp_path))
  found = {**fields.matching_config().to_dict(), 'data': DIABETES, 'rows': 60}
  with pytest.raises(errors.ConfigError, match='a regression'):
    matching.run(found, str(tmp_path))


def owners_of(file):
  """The settings of the config whose rows belong to people."""
  path = pathlib.Path(__file__).parents[2] / 'configs' / 'bench_tabular.py'
  spec = importlib.util.spec_from_file_location('bench_tabular', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config('owners').to_dict()
  return {k: config[k] for k in ('data', 'forget_sets')} | {
    'data': {**config['data'], 'file': str(file)}
  }


def test_an_owner_takes_all_rows_along(tmp_path):
  regions, answers = ('north', 'south'), ('no', 'yes')
  lines = [
    f'{i},p{i // 4},{20 + i % 50},,{regions[i % 2]},{answers[i % 3 == 0]}'
    for i in range(140)
  ]
  text = '\n'.join(['id,person,age,income,region,answer', *lines])
  (tmp_path / 'mine.csv').write_text(text)
  found = test_benchmark.settings(
    **owners_of(tmp_path / 'mine.csv'),
    rows=80,
    control_rows=10,
    metrics=('accuracy', 'gap'),
    trials=1,
    methods={'finetune': {'name': 'finetune', 'epochs': 1}},
  )
  summary = benchmark.run(found, str(tmp_path / 'run'))
  assert {x['kind'] for x in summary['leaderboard']} == {'owner'}
  sets = json.loads((tmp_path / 'run' / 'forget_sets.json').read_text())
  ground = subsets.prepare(found, 0)
  for ids in sets.values():
    at = ground.train.positions_of(np.array(ids))
    (owner,) = set(ground.train.owners[at])
    assert set(at) == set(np.flatnonzero(ground.train.owners == owner))
