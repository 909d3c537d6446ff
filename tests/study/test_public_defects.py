"""Faults that public code of these studies has had: none of them is here.

Tests of a part stand with it: the no-op unlearner (`test_matching`, and the
conformance of unlearners), the direction of KLoM and its largest margin
(`test_klom`), masks of originals by their ids (`test_ulira`), the scale of
TRAK (`test_trak`), documented commands (`test_binaries`).
"""

import copy
import json

import numpy as np
import pytest

from tests.study import test_subsets
from unlearn_jax import keys
from unlearn_jax.attributors import _moments, datamodels
from unlearn_jax.fleet import fleet
from unlearn_jax.study import matching, subsets
from unlearn_jax.unlearners import _words, dm_direct

FORGET_SIZE = 5


def settings(**fields):
  return test_subsets.settings(
    seeds=(0,),
    models=3,
    subset_models=24,
    calibration_sets=1,
    forget_sets=('random',),
    forget_size=FORGET_SIZE,
    methods={'direct': {'name': 'dm_direct'}},
    **fields,
  )


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  """What a tiny study found, and (indices, masks) of every model it trained."""
  trained = []

  def train(self, masks, indices):
    trained.append((np.array(indices), np.array(masks)))
    return kept(self, masks, indices)

  folder = tmp_path_factory.mktemp('study')
  kept = fleet.Fleet.train
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(fleet.Fleet, 'train', train)
    summary = matching.run(settings(), str(folder))
  forgotten = json.loads((folder / 'forgotten_0.json').read_text())
  ids = subsets.prepare(settings(), 0).train.ids.tolist()
  return summary, trained, [ids.index(i) for i in forgotten['random']]


def test_no_oracle_saw_what_is_forgotten(study):
  """Released oracles had been trained on the forget set after all."""
  _, trained, forget = study
  assert len(forget) == len(set(forget)) == FORGET_SIZE  # as documented
  oracles = [masks for first, masks in trained if first[0] >= subsets.ORACLE]
  # 3 to judge, 3 to teach, and 3 of another set, for the factor.
  assert [masks.shape for masks in oracles] == [(3, 40)] * 3
  without = [not masks[:, forget].any() for masks in oracles]
  assert sum(without) == 2
  for masks in oracles:
    assert (masks.sum(axis=1) == 40 - FORGET_SIZE).all()


def test_no_oracle_both_teaches_and_judges(study):
  """Teachers came from the pool of the oracles that judged."""
  indices = np.concatenate([first for first, _ in study[1]])
  assert len(indices) == len(set(indices.tolist()))


def test_the_factor_is_fitted_and_told(study):
  """The multiplier was assumed to be 1, or 10, and written nowhere."""
  (factors,) = study[0]['factors']
  fitted = factors['random']
  assert fitted and np.isfinite(list(fitted.values())).all()


def test_a_study_is_drawn_by_its_seed(study, tmp_path):
  """Draws had no seed, so no table could be made again."""
  again = matching.run(settings(), str(tmp_path))
  rows = [
    [{k: v for k, v in row.items() if k != 'seconds a model'} for row in found]
    for found in (again['rows'], study[0]['rows'])
  ]
  assert rows[0] == rows[1]


@pytest.mark.parametrize(
  ('path', 'value'),
  [
    (('batch_size',), 10),
    (('epochs',), 3),
    (('alphas',), (0.4,)),
    (('subset_models',), 32),
    (('rows',), 39),
    (('validation_rows',), 29),
    (('width',), 1),
    (('model', 'hidden'), (7,)),
    (('optimizer', 'learning_rate'), 0.5),
    (('schedule', 'warmup'), 0.3),
    (('augment', 'shift'), 1),
    (('seed',), 1),
  ],
)
def test_kept_sums_are_of_every_setting(path, value, tmp_path, monkeypatch):
  """The name of a cached result left a hyperparameter out."""

  def untrained(self, masks, indices):
    for at in np.array_split(np.asarray(indices), 4):
      if len(at):
        yield fleet.Chunk(at, len(at))

  monkeypatch.setattr(fleet.Fleet, 'train', untrained)
  monkeypatch.setattr(
    subsets.Ground,
    'logits',
    lambda self, count: np.zeros((count, len(self.x), 10), np.float32),
  )

  def told(seed, changed):
    calls = []
    ground = subsets.prepare(changed, seed)
    subsets.train_subsets(ground, changed, seed, tmp_path, calls.append)
    return calls

  usual = settings()
  told(0, usual)
  assert told(0, usual) == [24]  # all of them were there
  changed = copy.deepcopy(usual)
  if path == ('seed',):
    assert told(value, usual) != [24]
    return
  node = changed
  for name in path[:-1]:
    node = node[name]
  node[path[-1]] = value
  assert told(0, changed)[0] < changed['subset_models']


def test_every_epoch_has_an_order_of_its_own():
  """What stays was never shuffled: batches were those of the file."""
  key = keys.stream(keys.root(0), 'matching', 0)
  first, second = (
    np.asarray(keys.shuffle(keys.stream(key, 'order', epoch), 50))
    for epoch in (0, 1)
  )
  assert sorted(first) == sorted(second) == list(range(50))
  assert (first != second).any() and (first != np.arange(50)).any()


def test_what_is_predicted_for_validation_is_read_from_its_own_rows():
  """Predictions for validation points were read from rows of training ones."""
  ground = subsets.prepare(settings(), 0)
  n, points = ground.n, len(ground.x)
  assert (ground.x[n:] == ground.rest.all().x).all()
  seen = subsets.masks(200, n, 0.5, 0)
  logits = np.zeros((200, points, 10), np.float32)
  logits[:, n + 4, 7] = 3 * seen[:, 2]  # one example moves one point
  moments = _moments.Moments.of(seen, logits)
  shift = datamodels.fit(moments, estimator='difference').shift([2])
  request = _words.Request(
    model=ground.fleet.model,
    params=ground.models(0, 2),
    data=ground.train,
    forget=np.array([2]),
    shift=shift,
  )
  done = dm_direct.make()(request)
  before = ground.logits(done.params)
  moved = before + done.shift - before
  assert moved[:, n + 4, 7] == pytest.approx(-3, abs=1e-4)
  assert (np.abs(moved).max(axis=(0, 2)) > 0.1).sum() == 1


def test_reading_one_row_reads_no_other():
  """Asking for one item fetched the whole data set."""
  data = subsets.prepare(settings(), 0).train
  asked = []
  read = data.read
  object.__setattr__(
    data, 'read', lambda at: asked.append(np.array(at)) or read(at)
  )
  data.take([3])
  assert [at.tolist() for at in asked] == [[3]]
