"""The SVC attack against scikit-learn, and its features against plain loops."""

import numpy as np
import pytest
from sklearn import svm

from unlearn_jax import errors
from unlearn_jax.metrics import _features, _svc, mia_svc


def _sample(seed, many, targets):
  """Features of logits of ten classes: members, others and targets."""
  rng = np.random.default_rng(seed)
  kinds = []
  for size, middle, width in (
    (many, 7, 2.5),
    (many, 5.5, 3.5),
    (targets, 6, 3),
  ):
    logits = rng.normal(0, 1.2, (size, 10))
    logits[:, 0] += rng.normal(middle, width, size)
    kinds.append(
      {
        name: feature(logits[None], np.zeros((1, size), int))
        for name, feature in _features.FEATURES.items()
      }
    )
  return {name: [kind[name] for kind in kinds] for name in _features.FEATURES}


def _reference(members, others, targets, tolerance=1e-6):
  values = np.concatenate([members[0], others[0]])
  machine = svm.SVC(C=3, gamma='auto', kernel='rbf', tol=tolerance)
  machine.fit(
    values[:, None], np.repeat([1, 0], [members.shape[1], others.shape[1]])
  )
  return machine.predict(targets[0][:, None]) == 1


@pytest.mark.parametrize('name', _features.FEATURES)
def test_as_scikit_learn(name):
  for seed in range(3):
    sample = _sample(seed, 500, 1000)[name]
    np.testing.assert_array_equal(
      _svc.positive(*sample)[0], _reference(*sample)
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', ('confidence', 'entropy', 'm_entropy'))
def test_as_scikit_learn_at_20_000_points(name):
  sample = _sample(0, 10_000, 4500)[name]
  share = np.mean(_svc.positive(*sample))
  assert share == pytest.approx(_reference(*sample, 1e-5).mean(), abs=5e-4)


@pytest.mark.parametrize(
  'sample',
  [
    (np.ones((1, 40)), np.ones((1, 40)), np.ones((1, 3))),
    (np.ones((1, 40)), np.zeros((1, 40)), np.array([[0, 0.4, 0.6, 1.0]])),
    (
      np.geomspace(1e-3, 100, 90)[None],
      np.geomspace(1e-2, 90, 60)[None],
      np.linspace(0, 100, 77)[None],
    ),
  ],
  ids=('all the same', 'apart', 'wide and unequal'),
)
def test_odd_samples_as_scikit_learn(sample):
  np.testing.assert_array_equal(_svc.positive(*sample)[0], _reference(*sample))


def test_machines_do_not_see_each_other(monkeypatch):
  """Of other ranks, done sooner or later, and cut into parts anywhere."""
  rng = np.random.default_rng(0)
  scale = np.array([1e-3, 1, 20, 0.1, 5])[:, None]
  sample = [
    scale * rng.normal(middle, 1, (5, size))
    for middle, size in ((0.3, 80), (0, 90), (0.1, 100))
  ]
  together = _svc.positive(*sample)
  monkeypatch.setattr(_svc, '_AT_ONCE', 2 * 170)
  np.testing.assert_array_equal(_svc.positive(*sample), together)
  for i in range(5):
    alone = _svc.positive(*(x[i : i + 1] for x in sample))
    np.testing.assert_array_equal(alone[0], together[i])


def _m_entropy(p, y):
  """As written, one example and one class after another."""
  found = []
  for row, label in zip(p, y, strict=True):
    total = -(1 - row[label]) * np.log(row[label])
    for c, chance in enumerate(row):
      if c != label:
        total -= chance * np.log(1 - chance)
    found.append(total)
  return np.array(found)


def _public_m_entropy(p, y):
  """As public code has it: log p for log(1 - p), columns for entries."""
  log_p, rest = -np.log(p), np.log(p)
  rest[:, y] = log_p[:, y]
  chance = np.array(p)
  chance[:, y] = 1 - p[:, y]
  return np.sum(chance * rest, axis=1)


def test_modified_entropy_is_as_written():
  rng = np.random.default_rng(0)
  logits, y = rng.normal(0, 3, (2, 30, 5)), rng.integers(0, 5, (2, 30))
  p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
  found = _features.m_entropy(logits, y)
  for i in range(2):
    np.testing.assert_allclose(found[i], _m_entropy(p[i], y[i]), rtol=1e-9)
    parts = [
      _features.m_entropy(logits[[i], a:b], y[[i], a:b])[0]
      for a, b in ((0, 7), (7, 30))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), found[i])
    # The public one changes with the batch, and is another number.
    whole = _public_m_entropy(p[i], y[i])
    assert not np.allclose(whole[:2], _public_m_entropy(p[i][:2], y[i][:2]))
    assert not np.allclose(whole, found[i], atol=0.1)


def test_features_of_sure_models_are_finite_and_exact():
  logits = np.array([[[800.0, 0, 0], [0, 800, 0]]])
  y = np.zeros((1, 2), int)
  found = _features.m_entropy(logits, y)[0]
  assert found[0] == 0 and found[1] == pytest.approx(1600 - np.log(2))
  assert _features.entropy(logits, y)[0].tolist() == [0, 0]
  assert _features.confidence(logits, y)[0].tolist() == [1, 0]
  assert _features.correctness(logits, y)[0].tolist() == [1, 0]


def _shifted(gap, models=3, seed=0):
  """Unlearned models are surer by `gap` of what they should have forgotten."""
  inputs = mia_svc.null(seed, models=models, retain=400, test=200, forget=150)
  rng = np.random.default_rng(seed)

  def surer(splits, forget):
    logits = [np.array(x) for x in splits]
    for x, y, by in zip(logits, inputs['labels'], (4, 0, forget), strict=True):
      x[:, np.arange(len(y)), y] += by * rng.uniform(0.8, 1.2, x.shape[:2])
    return mia_svc.Splits(*logits)

  return inputs | {
    'unlearned': surer(inputs['unlearned'], gap),
    'oracles': surer(inputs['oracles'], 0),
  }


def test_what_was_not_forgotten_is_called_member():
  found = mia_svc.make()(**_shifted(4))
  assert not found.at_floor and found.value.high < -20
  np.testing.assert_allclose(found.per_model, found.unlearned - found.oracles)
  assert (found.unlearned < found.oracles).all()
  assert mia_svc.make()(**_shifted(0)).at_floor


def test_the_value_is_the_share_scikit_learn_calls_unseen():
  inputs = _shifted(2)
  found = mia_svc.make(members='first')(**inputs)
  splits = inputs['unlearned']
  for model in range(3):
    retain, test, forget = (
      _features.confidence(x[[model]], np.broadcast_to(y, (1, len(y))))
      for x, y in zip(splits, inputs['labels'], strict=True)
    )
    member = _reference(retain[:, :200], test, forget)
    assert found.unlearned[model] == pytest.approx(100 * np.mean(~member))


def test_only_the_published_members_depend_on_the_order_of_the_file():
  """The file begins with what the model is least sure of."""
  inputs = _shifted(2)

  def sorted_by_logit(splits, labels):
    y = labels.retain
    order = np.argsort(splits.retain[:, np.arange(len(y)), y].mean(axis=0))
    return splits._replace(retain=splits.retain[:, order])

  # One class alone, so that labels need no sorting.
  labels = inputs['labels']
  labels = labels._replace(retain=np.zeros_like(labels.retain))
  inputs = inputs | {'labels': labels}
  moved = inputs | {
    'unlearned': sorted_by_logit(inputs['unlearned'], labels),
  }
  first, drawn = mia_svc.make(members='first'), mia_svc.make()
  assert np.abs(first(**moved).unlearned - first(**inputs).unlearned).max() > 5
  np.testing.assert_array_equal(
    drawn(**moved).unlearned, drawn(**inputs).unlearned
  )
  assert (drawn(**inputs).deviation > 0).any()
  assert (first(**inputs).deviation == 0).all()


def test_other_machines_and_features_are_refused():
  with pytest.raises(errors.UnknownName, match="kernel 'linear'.*rbf"):
    mia_svc.make(kernel='linear')
  with pytest.raises(errors.UnknownName, match="feature 'prob'.*m_entropy"):
    mia_svc.make(feature='prob')
  with pytest.raises(errors.ConfigError, match='draws'):
    mia_svc.make(draws=0)


def test_members_must_be_as_many_as_the_test_set():
  few = mia_svc.null(0, retain=69, test=70)
  with pytest.raises(errors.DataError, match='at least 70, got 69'):
    mia_svc.make()(**few)
