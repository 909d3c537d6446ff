"""Distances of outputs against plain loops, SciPy, and what is known of them."""

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics import (
  _outputs,
  activation_distance,
  disagreement,
  js_divergence,
  wasserstein,
  zrf,
)

NULL = _outputs.null(0, models=3, examples=20)


def _pairs():
  """Each model's and its oracle's probabilities, an example at a time."""
  for u, o in zip(NULL['unlearned'], NULL['oracles'], strict=True):
    yield scipy.special.softmax(u, axis=1), scipy.special.softmax(o, axis=1)


@pytest.mark.parametrize(
  ('metric', 'of_an_example'),
  [
    (activation_distance, lambda p, q: np.sqrt(sum((p - q) ** 2))),
    (disagreement, lambda p, q: p.argmax() != q.argmax()),
    (
      js_divergence,
      lambda p, q: scipy.spatial.distance.jensenshannon(p, q, base=2) ** 2,
    ),
  ],
)
def test_as_a_plain_loop(metric, of_an_example):
  expected = [
    np.mean([of_an_example(p, q) for p, q in zip(u, o, strict=True)])
    for u, o in _pairs()
  ]
  found = metric.make()(**NULL)
  np.testing.assert_allclose(found.per_model, expected, atol=1e-12)
  shifted = NULL['unlearned'] + 7  # only softmax counts
  again = metric.make()(unlearned=shifted, oracles=NULL['oracles'])
  np.testing.assert_allclose(again.per_model, expected, atol=1e-12)


def _one_hot(classes, at, examples=6, count=5):
  return np.tile(
    np.where(np.arange(classes) == at, 1e4, 0.0), (count, examples, 1)
  )


@pytest.mark.parametrize('classes', [2, 10, 1000])
def test_zrf_of_the_same_is_one_and_of_disjoint_answers_is_zero(classes):
  first, last = _one_hot(classes, 0), _one_hot(classes, classes - 1)
  metric = zrf.make()
  np.testing.assert_allclose(metric.scores(first, first), 1)
  np.testing.assert_allclose(metric.scores(last, first), 0, atol=1e-12)


@pytest.mark.parametrize(
  ('classes', 'score'), [(10, 0.24), (100, 0.05), (1000, 0.01)]
)
def test_zrf_of_a_certain_model_and_a_flat_net(classes, score):
  """Legacy comes near 1 with many classes, whatever the model says."""
  flat = np.zeros((5, 6, classes))
  # Of probability .99 for its class, so that the reversed KL is finite.
  odds = np.log(0.99 / 0.01 * (classes - 1))
  certain = _one_hot(classes, 0) * odds / 1e4
  found = zrf.make().scores(_one_hot(classes, 0), flat)
  np.testing.assert_allclose(found, score, atol=0.01)
  old = zrf.make(mode='legacy').scores(certain, flat)
  assert (old > {10: 0.85, 100: 0.97, 1000: 0.997}[classes]).all()
  assert (old < 1).all()


def test_legacy_zrf_as_the_public_code_computes_it():
  rng = np.random.default_rng(0)
  logits, nets = rng.normal(size=(2, 6, 4)), rng.normal(size=(3, 6, 4))
  expected = []
  for model in logits:
    values = []
    for net in nets:
      p, q = (scipy.special.softmax(x, axis=1) for x in (model, net))
      m = (p + q) / 2
      terms = [np.sum(m * (np.log(m) - np.log(x))) / m.size for x in (p, q)]
      values.append(1 - sum(terms) / 2)
    expected.append(np.mean(values))
  found = zrf.make(mode='legacy').scores(logits, nets)
  np.testing.assert_allclose(found, expected, atol=1e-12)


def test_zrf_is_read_against_the_oracle():
  inputs = zrf.null(0)
  found = zrf.make()(**inputs)
  np.testing.assert_allclose(
    found.per_model, found.unlearned - found.oracles, atol=1e-12
  )
  assert found.nets == 5 and found.mode == 'corrected'
  # A model that answers at random forgot too much: not the ideal.
  random = np.concatenate([inputs['random']] * 2)[:8]
  lost = zrf.make()(**(inputs | {'unlearned': random}))
  assert lost.value.value > 0.1 and not lost.at_floor
  with pytest.raises(errors.DataError, match='random nets .* 5, got 4'):
    zrf.make()(**(inputs | {'random': inputs['random'][1:]}))
  with pytest.raises(errors.UnknownName, match='cosine'):
    zrf.make(mode='cosine')


@pytest.mark.parametrize('sizes', [(50, 50), (50, 31), (7, 40), (1, 3)])
def test_wasserstein_as_scipy(sizes):
  rng = np.random.default_rng(0)
  u, o = (rng.normal(i, 1, (3, n, 2)) for i, n in enumerate(sizes))
  targets = rng.normal(size=(60, 2)) * np.array([[1.0, 5]])
  found = wasserstein.make()(unlearned=u, oracles=o, targets=targets)
  expected = [
    np.mean(
      [
        scipy.stats.wasserstein_distance(a, b) / s
        for a, b, s in zip(x.T, y.T, targets.std(axis=0), strict=True)
      ]
    )
    for x, y in zip(u, o, strict=True)
  ]
  np.testing.assert_allclose(found.per_model, expected, atol=1e-12)


@pytest.mark.parametrize(
  ('examples', 'mean'), [(100, 0.175), (500, 0.08), (2000, 0.041)]
)
def test_the_floor_of_wasserstein_is_the_published_one(examples, mean):
  found = wasserstein.floor(examples)
  assert found.value == pytest.approx(mean, rel=0.05)
  assert found.low < found.value < found.high


def test_a_shift_of_predictions_is_its_size():
  inputs = wasserstein.null(0)
  moved = inputs['oracles'] + 3 * inputs['targets'].std(axis=0)
  found = wasserstein.make()(**(inputs | {'unlearned': moved}))
  np.testing.assert_allclose(found.per_model, 3)
  with pytest.raises(errors.DataError, match='constant'):
    wasserstein.make()(**(inputs | {'targets': np.ones((100, 2))}))
