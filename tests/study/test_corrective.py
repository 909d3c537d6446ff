"""The corrective setting: what was manipulated, what is known, who is judged."""

import json
import pathlib

import numpy as np
import pytest

from tests.study import test_benchmark
from unlearn_jax import errors, files
from unlearn_jax.study import arena, benchmark, corruption, subsets

POISON = {'kind': 'poison', 'count': 20, 'patch': {'value': 16}}
SWAP = {'kind': 'swap', 'count': 12}
NOISE = {'kind': 'shuffle_labels', 'count': 20}
KNOWN = {'manipulated': {'kind': 'manipulated'}}
ROWS = 150


def settings(arenas=None, **given):
  tiny = {
    'model': {'name': 'mlp', 'hidden': (32,), 'init': 'he'},
    'optimizer': {'name': 'sgd', 'learning_rate': 0.2, 'momentum': 0.9},
    'rows': ROWS,
    'validation_rows': 120,
    'epochs': 20,
    'batch_size': 30,
    'models': 3,
    'trials': 1,
    'fresh_oracles': False,
    'forget_sets': KNOWN,
    'metrics': ('accuracy', 'corrective', 'attack', 'confusion', 'mia', 'gap'),
    'methods': {'retrain': {'name': 'retrain', 'epochs': 1}},
  }
  arenas = arenas or {'poison': {'corruption': POISON}}
  return test_benchmark.settings(arenas=arenas, **{**tiny, **given})


def placed(corrupted, draw=1, **given):
  full = corruption.named(corrupted) if corrupted else None
  return arena.prepare(
    settings(**given), pathlib.Path('unused'), None, corrupted=full,
    draw=draw,
  )  # fmt: skip


def test_originals_learn_what_was_tampered_with_and_the_test_is_clean():
  clean, place = placed(None), placed({**POISON, 'known': 6})
  harm, train = place.harm, place.ground.train
  assert len(harm.manipulated) == 20 and len(harm.known) == 6
  assert (place.ground.fleet.data.labels == train.labels).all()
  assert (train.labels[harm.manipulated] == 0).all()
  n = len(clean.ground.x)
  same = (place.ground.x[:n] == clean.ground.x).all(axis=(1, 2, 3))
  assert not same[harm.manipulated].any()
  assert same.sum() == n - 20
  assert (place.truth[:n] == clean.ground.y).all()
  # The same test images come again with the trigger, by their true labels.
  splits = place.splits(harm.known, harm.manipulated)
  assert (splits['rest'] == clean.test).all()
  marked, test = place.ground.x[splits['affected']], clean.ground.x[clean.test]
  assert (marked[:, 5:, 5:] == 1).all()
  assert (marked[:, :5] == test[:, :5]).all()
  assert (place.truth[splits['affected']] == clean.ground.y[clean.test]).all()
  # What stays is what an oracle learns: nothing that is bad, found or not.
  assert not np.isin(splits['retain'], harm.manipulated).any()
  assert len(splits['retain']) == ROWS - 20


def test_where_a_swap_and_noise_show():
  place = placed(SWAP)
  splits = place.splits(place.harm.known)
  assert set(place.truth[splits['affected']]) == {3, 5}
  assert not np.isin(place.truth[splits['rest']], (3, 5)).any()
  both = np.union1d(splits['affected'], splits['rest'])
  assert (both == place.test).all()
  place = placed(NOISE)
  splits = place.splits(place.harm.known)
  assert (splits['affected'] == place.harm.manipulated).all()
  assert (place.truth != place.ground.y).sum() > 10


def test_all_that_makes_a_model_or_a_row_different_is_in_its_name():
  facts = [
    placed(None),
    placed(POISON),
    placed(POISON, draw=2),
    placed({**POISON, 'known': 6}),
    placed({**POISON, 'target': 1}),
    placed({**POISON, 'patch': {'value': 16, 'size': 2}}),
    placed(SWAP),
    placed(NOISE),
  ]
  named = [files.digest(place.facts) for place in facts]
  assert len(set(named)) == len(named)
  # Only models that learned the same rows are the same models.
  recipes = [place.recipe for place in facts]
  assert recipes[1] == recipes[3] and len(set(recipes)) == len(recipes) - 1
  # A default that is said is no other harm.
  assert corruption.named(POISON) == corruption.named(
    {**POISON, 'target': 0, 'known': None, 'patch': {'value': 16, 'inset': 0}}
  )


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
  """A run on poison, and (first, rows left out) of all models that it made."""
  folder, made = tmp_path_factory.mktemp('corrective'), []
  train = subsets.Ground.models

  def models(self, first, count, without=()):
    made.append((first, self.train.ids[np.asarray(without, int)]))
    return train(self, first, count, without)

  arenas = {
    'all known': {'corruption': POISON},
    'some known': {'corruption': {**POISON, 'known': 6}},
  }
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(subsets.Ground, 'models', models)
    summary = benchmark.run(settings(arenas), str(folder))
  return summary, folder, made


def test_oracles_never_saw_what_nobody_has_found(ran):
  _, folder, made = ran
  sets = json.loads((folder / 'forget_sets.json').read_text())
  every = sets['all known: all manipulated']
  assert (
    sets['some known: all manipulated']
    == every
    == sets['all known: manipulated']
  )
  known = sets['some known: manipulated']
  assert len(every) == 20 and len(known) == 6 and set(known) < set(every)
  # Originals and oracles are those of both arenas, so each is trained once.
  assert [(first, sorted(left)) for first, left in made] == [
    (subsets.BASE, []),
    (subsets.ORACLE, sorted(every)),
  ]


def test_a_trigger_works_on_originals_and_not_on_oracles(ran):
  rows = {
    (r['arena'], r['method'], r['metric']): r
    for r in test_benchmark.rows_of(ran[1])
  }
  row = rows['some known', 'do nothing', 'ASR']
  assert np.mean(row['unlearned']) > 60 and np.mean(row['oracles']) < 40
  assert row['low'] <= row['value'] <= row['high'] and not row['at floor']
  assert row['ideal'] == 0 and len(row['floor']) == 3
  assert rows['some known', 'do nothing', 'Acc_corr']['value'] < -20
  assert abs(rows['some known', 'do nothing', 'Acc_retain']['value']) < 20
  assert ('some known', 'do nothing', 'IC-ERR') not in rows
  out = ran[0]['left out']['some known']
  assert out == 'confusion (is of the corruption swap)'
  assert {x['arena'] for x in ran[0]['leaderboard']} == {
    'all known',
    'some known',
  }


def test_swapped_classes_are_mixed_up_and_noise_is_learned(tmp_path):
  arenas = {'swap': {'corruption': SWAP}, 'noise': {'corruption': NOISE}}
  benchmark.run(
    settings(arenas, methods={}, metrics=('corrective', 'confusion', 'nomus')),
    str(tmp_path),
  )
  rows = {
    (r['arena'], r['metric']): r for r in test_benchmark.rows_of(tmp_path)
  }
  assert rows['swap', 'IC-ERR']['value'] > 10
  assert rows['swap', 'Fgt-ERR']['value'] > 4  # of 12 examples
  assert rows['swap', 'Acc_corr']['value'] < -10
  assert rows['noise', 'Acc_corr']['value'] < -10
  assert ('noise', 'IC-ERR') not in rows
  scores = {'NoMUS', 'H-Mean', 'AUS'}
  assert scores <= {metric for of, metric in rows if of == 'noise'}


def test_tuning_is_on_rows_that_were_tampered_with_in_no_table(
  tmp_path, monkeypatch
):
  asked = []

  def case(self, place, kind, forget, first=0, count=None):
    asked.append((first, set(place.ground.train.ids[forget]), place.recipe))
    raise errors.DataError('that is enough')

  monkeypatch.setattr(benchmark._Study, '_case', case)
  found = settings()
  study = benchmark._Study(found, tmp_path)
  (place,) = study._others
  with pytest.raises(errors.DataError):
    study._tuning_case(place, 'manipulated')
  ((first, tuned, recipe),) = asked
  shown = set(place.ground.train.ids[place.harm.known])
  assert first == benchmark._TUNING
  assert len(tuned) == 20 and tuned != shown
  assert recipe != place.recipe  # so its models are others, too


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'kind': 'poisson'}, "Did you mean 'poison'"),
    ({'kind': 'swap', 'target': 1}, "'target'"),
    ({'count': 151}, 'rows to manipulate are 1..'),
    ({'known': 21}, '1..20, got 21'),
    ({'patch': {'value': 16, 'sise': 2}}, "'sise'"),
    ({'seed': 1}, "seed is the study's"),
  ],
)
def test_a_wrong_corruption_is_refused_before_any_model(
  change, message, tmp_path, monkeypatch
):
  monkeypatch.setattr(subsets.Ground, 'models', None)
  found = settings({'x': {'corruption': {**POISON, **change}}})
  if change.get('kind') == 'swap':
    del found['arenas']['x']['corruption']['patch']
  with pytest.raises(errors.UnlearnError, match=message):
    benchmark.run(found, str(tmp_path))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'arenas': {'clean': {}}}, 'one without'),
    (
      {'forget_sets': {'m': {'kind': 'manipulated', 'size': 3}}},
      "size of forget set 'm'",
    ),
    (
      {'forget_sets': {'m': {'kind': 'manipulated', 'draw': 2}}},
      "draw of forget set 'm'",
    ),
  ],
)
def test_a_set_without_its_corruption_is_refused(
  change, message, tmp_path, monkeypatch
):
  monkeypatch.setattr(subsets.Ground, 'models', None)
  with pytest.raises(errors.ConfigError, match=message):
    benchmark.run({**settings(), **change}, str(tmp_path))
