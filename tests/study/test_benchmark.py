"""The benchmark: equal budgets, honest rows, nothing computed twice."""

import json
import types

import jax
import numpy as np
import pytest

from unlearn_jax import errors, fields, registry
from unlearn_jax.study import (
  arena,
  benchmark,
  leaderboard,
  panel,
  subsets,
  tuning,
)
from unlearn_jax.unlearners import _door, neg_grad_plus

METRICS = ('accuracy', 'mia', 'gap', 'divergences', 'cost')


def settings(**given):
  config = fields.benchmark_config().to_dict()
  small = {
    'model': {'name': 'mlp', 'hidden': (8,)},
    'rows': 60,
    'control_rows': 20,
    'validation_rows': 60,
    'epochs': 3,
    'width': 2,
    'models': 4,
    'few': 3,
    'tuning_models': 3,
    'trials': 2,
    'forget_sets': {
      'random 1': {'kind': 'random'},
      'class 1': {'kind': 'class', 'size': 0},
    },
    'forget_size': 6,
    'metrics': METRICS,
    'methods': {
      'ascent': {'name': 'gradient_ascent', 'epochs': 1},
      'exact': {'name': 'exact', 'shards': 1, 'slices': 2, 'epochs': 1},
    },
  }
  return {**config, **small, **given}


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
  """One run of it all: the summary and its directory."""
  folder = tmp_path_factory.mktemp('benchmark')
  return benchmark.run(settings(), str(folder)), folder


def rows_of(folder):
  lines = (folder / 'rows.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_every_method_is_judged_on_every_set_by_every_metric(ran):
  summary, folder = ran
  rows = rows_of(folder)
  assert summary['rows'] == len(rows)
  methods = ['fresh oracles', 'do nothing', 'ascent', 'exact']
  assert {row['method'] for row in rows} == set(methods)
  for kind in ('random', 'class'):
    of_kind = [line for line in summary['leaderboard'] if line['kind'] == kind]
    assert sorted(line['method'] for line in of_kind) == sorted(methods)
  named = {(row['method'], row['metric']) for row in rows}
  for method in methods:
    for metric in ('UA', 'RA', 'TA', 'MIA', 'gap', 'disagreement'):
      assert (method, metric) in named
    assert ((method, 'cost') in named) == (method in ('ascent', 'exact'))


def test_a_row_says_what_it_was_measured_with(ran):
  row = next(
    r for r in rows_of(ran[1]) if (r['method'], r['metric']) == ('ascent', 'UA')
  )
  assert row['low'] <= row['value'] <= row['high']
  assert len(row['floor']) == 3 and isinstance(row['at floor'], bool)
  assert len(row['per_model']) == 4
  np.testing.assert_allclose(row['value'], np.mean(row['per_model']), atol=1e-4)
  difference = np.subtract(row['unlearned'], row['oracles'])
  np.testing.assert_allclose(difference, row['per_model'], atol=1e-4)
  assert len(row['trials']) == 2 and 'gap' in row['trials'][0]


def test_forget_sets_are_saved_and_oracles_never_saw_them(ran, monkeypatch):
  sets = json.loads((ran[1] / 'forget_sets.json').read_text())
  assert set(sets) == {'random 1', 'class 1'} and len(sets['random 1']) == 6
  place = arena.prepare(settings(), ran[1] / 'models', None)
  forget = place.ground.train.positions_of(np.array(sets['class 1']))
  assert len(set(place.ground.train.labels[forget])) == 1  # and all of it
  rest = np.setdiff1d(np.arange(60), forget)
  assert (
    place.ground.train.labels[forget[0]]
    not in (place.ground.train.labels[rest])
  )
  seen = []
  train = type(place.ground.fleet).train

  def watched(self, masks, *rest, **more):
    seen.append(np.asarray(masks))
    return train(self, masks, *rest, **more)

  monkeypatch.setattr(type(place.ground.fleet), 'train', watched)
  place.models(subsets.ORACLE, 4, forget)  # found on disk
  assert not seen
  place.models(subsets.ORACLE + 50, 2, forget)
  assert not seen[0][:, forget].any() and seen[0][:, rest].all()


def test_the_worst_set_is_found_with_a_model_that_is_in_no_table(tmp_path):
  sets = {
    'worst': {'kind': 'worst'},
    'easiest': {'kind': 'worst', 'easiest': True},
  }
  methods = {'ascent': {'name': 'gradient_ascent', 'learning_rate': 0.01}}
  found = settings(
    forget_sets=sets, methods=methods, metrics=('accuracy',), trials=1
  )
  benchmark.run(found, str(tmp_path))
  chosen = json.loads((tmp_path / 'forget_sets.json').read_text())
  assert {len(ids) for ids in chosen.values()} == {6}
  assert not set(chosen['worst']) & set(chosen['easiest'])
  # Oracles err on the easiest, and know the worst without having seen it.
  wrong = {
    row['forget set']: np.mean(row['oracles'])
    for row in rows_of(tmp_path)
    if (row['method'], row['metric']) == ('do nothing', 'UA')
  }
  assert wrong['worst'] < wrong['easiest']


def test_the_same_command_computes_nothing_again(ran, monkeypatch):
  def never(*unused, **more):
    raise AssertionError('this was known')

  monkeypatch.setattr(benchmark._Study, '_compare', never)
  again = benchmark.run(settings(), str(ran[1]))
  assert again['leaderboard'] == json.loads(json.dumps(ran[0]['leaderboard']))


def test_an_edited_method_is_another_one(monkeypatch):
  monkeypatch.setattr(registry, '_REGISTERED', {})

  def unlearn(model, params, data, key):
    return params

  def edited(model, params, data, key):
    return jax.tree.map(lambda leaf: 0.5 * leaf, params)

  def source(function):
    make = _door.door(function, ())
    registry.register('unlearners', 'edited_here', make)
    return benchmark._source(registry.get('unlearners', 'edited_here'))

  assert source(unlearn) == source(unlearn) != source(edited)
  in_file = benchmark._source(registry.get('unlearners', 'finetune'))
  assert 'READS' in in_file
  made = types.ModuleType('made')
  exec('def make(): pass', vars(made))
  assert benchmark._source(made) != benchmark._source(made)


def test_another_setting_is_computed_anew(ran, monkeypatch):
  asked = []

  def compare(self, place, each, label, case):
    asked.append((each, label))
    return []

  monkeypatch.setattr(benchmark._Study, '_compare', compare)
  methods = {**settings()['methods'], 'ascent': {'name': 'gradient_ascent'}}
  benchmark.run(settings(methods=methods), str(ran[1]))
  assert asked == [('random 1', 'ascent'), ('class 1', 'ascent')]


@pytest.mark.parametrize(
  ('wrong', 'complaint'),
  [
    ({'methods': {'a': {'name': 'no_such'}}}, 'no_such'),
    ({'methods': {'a': {'name': 'ssd', 'nothing': 1}}}, 'nothing'),
    ({'metrics': ('beauty',)}, 'beauty'),
    ({'models': 2}, 'got 2'),
    ({'few': 1}, 'got 4 and 1'),
    ({'control_rows': 60}, '1..59'),
    ({'forget_sets': {'x': {'kind': 'odd'}}}, 'odd'),
    ({'forget_sets': {'x': {'kind': 'principal'}}}, 'principal.*worst'),
    ({'forget_size': 60}, '1..59'),
    ({'sparse_methods': ('ssd',)}, 'ssd'),
    ({'trials': 0}, 'got 0'),
  ],
)
def test_a_wrong_setting_is_refused_before_anything_is_trained(
  wrong, complaint, tmp_path, monkeypatch
):
  monkeypatch.setattr(subsets.Ground, 'models', None)
  with pytest.raises(errors.UnlearnError, match=complaint):
    benchmark.run(settings(**wrong), str(tmp_path))


def test_trials_are_the_defaults_and_draws_between_the_bounds():
  found = tuning.trials('neg_grad_plus', {}, 16)
  assert len(found) == 16 and found[0] == {}
  rates = np.array([t['learning_rate'] for t in found[1:]])
  low, high = neg_grad_plus.TUNED['learning_rate']
  assert rates.min() >= low and rates.max() <= high
  assert len(set(rates)) == 15
  # Half of them on each side, on a log scale.
  assert (rates < np.sqrt(low * high)).sum() in range(5, 11)
  assert tuning.trials('neg_grad_plus', {}, 16) == found
  fixed = tuning.trials('neg_grad_plus', {'learning_rate': 0.1}, 4)
  assert all('learning_rate' not in t for t in fixed)
  assert tuning.trials('retrain', {'learning_rate': 0.1}, 4) == [{}]


def test_the_best_trial_is_the_nearest_and_diverged_ones_are_far():
  tried = [{}, {'a': 1.0}, {'a': 2.0}]
  distances = iter([3.0, np.nan, 1.0])
  assert tuning.best(tried, lambda t: next(distances)) == (
    {'a': 2.0},
    [3.0, np.inf, 1.0],
  )
  with pytest.raises(errors.TrainingDiverged, match='all of 3'):
    tuning.best(tried, lambda t: np.nan)


def test_a_diverged_trial_is_told_and_not_chosen(ran, monkeypatch):
  methods = {'ascent': {'name': 'gradient_ascent', 'momentum': 0.5}}
  found = settings(methods=methods, trials=3)
  made = benchmark._Study._made

  def broken(self, method, tuned):
    unlearn = made(self, method, tuned)
    if not tuned:
      return unlearn

    def diverged(request):
      done = unlearn(request)
      gone = jax.tree.map(lambda leaf: leaf * np.nan, done.params)
      return done._replace(params=gone)

    return diverged

  monkeypatch.setattr(benchmark._Study, '_made', broken)
  benchmark.run(found, str(ran[1]))
  row = next(r for r in rows_of(ran[1]) if r['method'] == 'ascent')
  assert row['tuned'] == {}
  assert [t['gap'] for t in row['trials'][1:]] == ['Infinity'] * 2
  assert np.isfinite(row['trials'][0]['gap'])


def test_a_number_that_has_no_value_says_why_and_costs_no_other(
  ran, monkeypatch
):
  def nothing(look):
    raise errors.DataError('all features are alike')

  found = settings(metrics=('accuracy', 'zrf'))
  monkeypatch.setitem(panel._PANEL, 'zrf', nothing)
  summary = benchmark.run(found, str(ran[1]))
  rows = [r for r in rows_of(ran[1]) if r['method'] == 'do nothing']
  assert {r['metric'] for r in rows} == {'UA', 'RA', 'TA', 'zrf'}
  reasons = [r['undefined'] for r in rows if 'undefined' in r]
  assert reasons == ['all features are alike'] * 2  # on both sets
  line = next(x for x in summary['leaderboard'] if x['method'] == 'do nothing')
  assert line['metrics']['zrf']['why'] == 'all features are alike'


def line_rows(values, **fields):
  head = {'arena': 'dense', 'kind': 'random', 'metric': 'gap', 'ideal': 0.0}
  return [
    {**head, 'value': np.mean(v), 'per_model': v, 'floor': [1, 0, 2], **fields}
    for v in values
  ]


def test_the_leaderboard_is_the_mean_over_sets_with_its_interval():
  rng = np.random.default_rng(0)
  good = rng.normal(2.0, 1.0, (3, 200))
  rows = line_rows(good, method='good', **{'at floor': True})
  rows += line_rows(good + 5, method='bad', **{'at floor': False})
  rows[0]['at floor'] = False
  first, second = leaderboard.rank(rows)
  assert (first['method'], second['method']) == ('good', 'bad')
  found = first['metrics']['gap']
  np.testing.assert_allclose(found['value'], good.mean())
  assert found['sets'] == 3 and not found['at floor']  # not on all sets
  error = 1.96 / np.sqrt(600)
  np.testing.assert_allclose(found['low'], good.mean() - error, atol=0.05)
  np.testing.assert_allclose(found['high'], good.mean() + error, atol=0.05)
  # Nor where the interval of the mean is beyond what oracles show.
  marks = [{**row, 'at floor': True} for row in rows]
  by = {
    line['method']: line['metrics']['gap'] for line in leaderboard.rank(marks)
  }
  assert by['good']['at floor'] and not by['bad']['at floor']
  # Sets that differ widen it: they are what a claim is about.
  apart = line_rows(good + np.array([[-3], [0], [3]]), method='x')
  wide = leaderboard._over_sets([{**r, 'at floor': True} for r in apart])
  assert wide['high'] - wide['low'] > 5 * (found['high'] - found['low'])


def test_who_diverged_on_one_set_has_no_mean_in_the_table():
  rows = line_rows(np.ones((2, 4)), method='x', **{'at floor': False})
  rows.append(
    {'arena': 'dense', 'kind': 'random', 'method': 'x', 'metric': 'diverged'}
  )
  (line,) = leaderboard.shown(leaderboard.rank(rows))
  assert line['gap'] == 'diverged' and line['method'] == 'x'
