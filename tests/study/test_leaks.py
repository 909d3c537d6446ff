"""Power of metrics against planted leaks: the rule, the trials, the study."""

import numpy as np
import pytest
import scipy.stats

from unlearn_jax import errors, fields
from unlearn_jax.study import heatmap, leaks, planted, subsets

CLASS = 'class'


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def settings(**given):
  config = fields.leaks_config().to_dict()
  tiny = {
    'model': {'name': 'mlp', 'hidden': (32,), 'init': 'he'},
    'optimizer': {'name': 'sgd', 'learning_rate': 0.2, 'momentum': 0.9},
    'rows': 120,
    'control_rows': 20,
    'validation_rows': 80,
    'batch_size': 30,
    'epochs': 15,
    'models': 12,
    'few': 3,
    'null_trials': 19,
    'trials': 4,
    'leaks': (0.0, 0.1, 1.0),
    'edits': planted.EDITS,
    'forget_sets': {CLASS: {'kind': 'class', 'size': 0}},
    'metrics': ('accuracy', 'game', 'features'),
  }
  return {**config, **tiny, **given}


@pytest.mark.parametrize('nulls', [19, 40])
def test_one_in_twenty_is_a_false_alarm(nulls):
  found = [
    leaks.power(part[:nulls], part[nulls:]).value
    for part in normal(0, 400, nulls + 20)
  ]
  # A threshold from few trials is off; on average it must not be.
  assert 0.035 < np.mean(found) < 0.065


@pytest.mark.parametrize('shift', [-2.0, 1.0, 3.0])
def test_power_is_what_normals_have(shift):
  found = leaks.power(7 + normal(1, 800), 7 + shift + normal(2, 2000))
  reach = scipy.stats.norm.ppf(0.975)
  right = scipy.stats.norm.sf(reach - shift) + scipy.stats.norm.cdf(
    -reach - shift
  )
  assert found.value == pytest.approx(right, abs=0.06)
  assert found.low < found.value < found.high
  assert found.threshold == pytest.approx(reach, abs=0.2)


def test_what_never_moves_notices_any_move_but_no_rounding():
  found = leaks.power(np.full(40, 0.1), [0.1, 0.1 + 1e-13, 0.11, 0.09])
  assert found.value == 0.5 and found.threshold == 0


def test_no_alarm_in_20_is_no_proof_of_none():
  found = leaks.power(normal(0, 40), np.zeros(20))
  assert found.value == found.low == 0
  assert found.high == pytest.approx(0.161, abs=1e-3)  # Wilson's


def test_too_few_null_trials_are_refused():
  with pytest.raises(errors.DataError, match='at least 19, got 18'):
    leaks.power(np.zeros(18), [1.0])


@pytest.mark.parametrize('column', [False, True])
def test_an_edit_of_the_head_moves_one_class_alone(column):
  features = np.abs(normal(0, 3, 7, 4))
  params = {
    'head': {'kernel': normal(1, 3, 4, 5), 'bias': normal(2, 3, 5)},
    'layer_0': {'bias': np.ones((3, 4))},
  }

  def answers(params):
    head = params['head']
    return features @ head['kernel'] + head['bias'][:, None]

  before = answers(params)
  edited = planted.with_wiped_class(params, before, 2, column=column)
  after = answers(edited)
  others = np.delete(after, 2, axis=2)
  assert (after[:, :, 2] <= others.max(axis=2) - 0.999).all()
  assert (others == np.delete(before, 2, axis=2)).all()
  assert (edited['layer_0']['bias'] == 1).all()
  assert (edited['head']['kernel'][:, :, 2] == 0).all() == column
  assert (answers(params) == before).all()  # the original is left alone


def test_a_model_without_such_a_head_is_refused():
  with pytest.raises(errors.ConfigError, match='the model has head/kernel'):
    planted.with_wiped_class(
      {'head': {'kernel': np.ones((1, 2, 3))}}, np.ones((1, 1, 3)), 0, column=1
    )


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  """A run, and (first, count, rows left out) of all models that it made."""
  folder, made = tmp_path_factory.mktemp('leaks'), []
  train = subsets.Ground.models

  def models(self, first, count, without=()):
    made.append((first, count, len(without)))
    return train(self, first, count, without)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(subsets.Ground, 'models', models)
    yield folder, made, leaks.run(settings(), str(folder))


def of(summary, metric, leak):
  (row,) = (
    row
    for row in summary['rows']
    if (row['metric'], row['leak']) == (metric, leak)
  )
  return row


def test_a_whole_leak_is_told_apart(study):
  *_, summary = study
  assert of(summary, 'told apart', '100 %')['power'] == 1


def test_what_was_never_leaked_gives_no_alarm_to_speak_of(study):
  *_, summary = study
  rows = [row for row in summary['rows'] if row['leak'] == '0 %']
  assert len(rows) == len(leaks.table(summary['rows']))
  assert np.mean([row['power'] for row in rows]) < 0.3


@pytest.mark.parametrize('edit', planted.EDITS)
def test_an_edited_head_fools_accuracy_but_not_cka(study, edit):
  *_, summary = study
  assert of(summary, 'UA', edit)['power'] == 0
  row = of(summary, 'CKA forget, to original', edit)
  assert row['power'] == 1 and row['value'] == pytest.approx(1, abs=1e-6)


def test_each_trial_of_a_leak_has_models_of_its_own(study):
  _, made, summary = study
  groups = [g for g in made if g[0] >= planted.LEAKING]
  size = max(left for *_, left in made)  # of the forget set
  assert sorted({left for *_, left in groups}) == [
    0,
    size - max(1, round(0.1 * size)),
    size,
  ]
  assert len(groups) == 3 * summary['trials']
  numbers = [i for first, count, _ in made for i in range(first, first + count)]
  twice = summary['trials'] * summary['models']  # the two edits share theirs
  assert len(numbers) == len(set(numbers)) + twice


def test_finished_leaks_are_kept(study, monkeypatch):
  folder, _, summary = study
  asked = []
  monkeypatch.setattr(
    leaks.panel, 'judge', lambda *a: asked.append(a) or pytest.fail('again')
  )
  again = leaks.run(settings(), str(folder))
  assert again['rows'] == summary['rows'] and not asked
  with pytest.raises(pytest.fail.Exception):  # another size of leak is new
    leaks.run(settings(leaks=(0.0, 0.5)), str(folder))


def test_the_table_has_a_line_for_each_metric(study):
  *_, summary = study
  lines = leaks.table(summary['rows'])
  assert list(lines[0]) == ['metric', '0 %', '10 %', '100 %', *planted.EDITS]
  assert lines[0]['metric'] == 'UA'
  assert lines[0]['100 %'].endswith(' to 1.00)')


@pytest.mark.parametrize(
  'wrong, words',
  [
    ({'null_trials': 18}, 'null_trials is at least 19, got 18'),
    ({'trials': 20}, 'trials is at most null_trials, 19; got 20'),
    ({'models': 5}, 'models is at least 6, got 5'),
    ({'few': 13}, 'few is at most models, 12; got 13'),
    ({'leaks': (1.2,)}, 'got 1.2'),
    ({'edits': ('head',)}, "'head'.*head bias"),
    ({'metrics': ('cka',)}, "'cka'.*features"),
  ],
)
def test_wrong_settings_cost_nothing(wrong, words, tmp_path):
  with pytest.raises(errors.UnlearnError, match=words):
    leaks.run(settings(**wrong), str(tmp_path / 'run'))
  assert not (tmp_path / 'run').exists()


def test_the_picture_has_room_for_sets_with_other_columns(tmp_path):
  found = {
    'random': {'UA': {'0 %': 0.05, '100 %': 1.0}},
    'class': {'UA': {'0 %': 0.0, 'head bias': 0.5}, 'k-NN': {'0 %': 0.1}},
  }
  heatmap.draw(found, tmp_path / 'h.png', label='power')
  assert (tmp_path / 'h.png').read_bytes()[1:4] == b'PNG'


def test_a_number_that_a_trial_does_not_have_has_no_power(
  tmp_path, monkeypatch
):
  class Trials:
    def __init__(self, *unused):
      self.null = self.edit = lambda *unused: (None, None)
      self.leak = lambda share, trial: (trial, None)

  def judge(names, case, found):
    rows = [{'metric': 'always', 'value': 1.0}]
    if case == 2:
      return [*rows, {'metric': 'panel', 'undefined': 'an oracle is wrong'}]
    return [*rows, {'metric': 'sometimes', 'value': 1.0}]

  monkeypatch.setattr(planted, 'Trials', Trials)
  monkeypatch.setattr(leaks.panel, 'judge', judge)
  found = leaks.run(settings(edits=()), str(tmp_path))
  assert {row['metric'] for row in found['rows']} == {'always'}
