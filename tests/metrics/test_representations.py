"""CKA and k-NN: references, and edits of the head alone, which they find."""

import jax
import numpy as np
import pytest
from sklearn import neighbors

from unlearn_jax import errors, keys, optimizers, registry, trees
from unlearn_jax.fleet import fleet
from unlearn_jax.metrics import accuracy, cka, knn

FORGOTTEN = 3  # the class
MODELS = 6


def _normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape)


def _unbiased_hsic(x, y):
  """From kernels of points by points, as it is published."""
  n = len(x)
  k, other = (z @ z.T * (1 - np.eye(n)) for z in (x, y))
  return (
    np.trace(k @ other)
    + k.sum() * other.sum() / ((n - 1) * (n - 2))
    - 2 / (n - 2) * (k.sum(axis=0) @ other.sum(axis=0))
  ) / (n * (n - 3))


def test_cka_as_from_kernels():
  x, y, original = _normal(3, 3, 25, 7) + 2
  x = x + y
  expected = [
    _unbiased_hsic(a, b) / np.sqrt(_unbiased_hsic(a, a) * _unbiased_hsic(b, b))
    for a, b in zip(x, y, strict=True)
  ]
  found = cka.make()(unlearned=x, oracles=y, original=original)
  np.testing.assert_allclose(found.per_model, expected, atol=1e-10)


@pytest.mark.parametrize(('points', 'width'), [(512, 64), (512, 512)])
def test_cka_of_unrelated_features_is_nothing(points, width):
  """Biased it is .11 and .50 here."""
  u, o, original = _normal(3, 2, points, width)
  found = cka.make()(unlearned=u, oracles=o, original=original)
  assert np.abs(found.per_model).max() < 0.02
  assert np.abs(found.per_pair).max() < 0.02
  assert abs(found.to_original.value) < 0.02


def test_cka_of_the_same_is_one_however_turned_and_scaled():
  x, original = _normal(2, 3, 40, 6)
  turn, _ = np.linalg.qr(_normal(6, 6))
  found = cka.make()(unlearned=5 * x @ turn + 3, oracles=x, original=original)
  np.testing.assert_allclose(found.per_model, 1)


def test_features_that_say_nothing_are_refused():
  u, o, original = _normal(3, 3, 20, 4)
  o[1] = 0.1
  with pytest.raises(errors.DataError, match='oracle 1 say nothing'):
    cka.make()(unlearned=u, oracles=o, original=original)
  with pytest.raises(errors.DataError, match='points must be at least 4'):
    cka.make()(unlearned=u[:, :3], oracles=u[:, :3], original=u[:, :3])


@pytest.mark.parametrize('k', [1, 5])
def test_knn_as_scikit_learn(k):
  inputs = knn.null(0)
  order = keys.order(inputs['ids'], '0/k-NN')
  train, held_out = order[:160], order[160:]
  found = knn.make(k=k)(**inputs)
  for name in ('unlearned', 'oracles'):
    expected = [
      100
      * neighbors.KNeighborsClassifier(k, metric='cosine', algorithm='brute')
      .fit(x[train], inputs['labels'][train])
      .score(x[held_out], inputs['labels'][held_out])
      for x in inputs[name]
    ]
    np.testing.assert_allclose(getattr(found, name), expected)


def test_knn_takes_any_ids_and_seeds():
  inputs = knn.null(0)
  names = np.array([f'image-{i}' for i in inputs['ids']])
  assert knn.make()(**(inputs | {'ids': names})).models == 8
  other = knn.make(seed=1)(**inputs)
  assert (other.unlearned != knn.make()(**inputs).unlearned).any()
  with pytest.raises(errors.DataError, match='199 of 200'):
    knn.make()(**(inputs | {'ids': np.maximum(inputs['ids'], 1)}))
  with pytest.raises(errors.DataError, match='at least 161, got 160'):
    knn.make(k=161)(**inputs)


@pytest.fixture(scope='module')
def planted():
  """Digits: originals with the column of a class wiped off, and oracles."""
  data = registry.make('data', 'digits', split='train')
  model = registry.make('models', 'mlp', num_outputs=10, hidden=[32])
  many = fleet.Fleet(
    model=model,
    data=data,
    optimizer=optimizers.make('sgd', learning_rate=0.1, momentum=0.9),
    batch_size=64,
    epochs=10,
  )
  kept = np.tile(data.labels != FORGOTTEN, (MODELS, 1))
  masks = np.concatenate([np.ones_like(kept), kept])
  (made,) = many.train(masks)
  original, oracles = (
    jax.tree.map(lambda leaf, part=part: np.asarray(leaf)[part], made.params)
    for part in (slice(MODELS), slice(MODELS, None))
  )
  leaves = {k: v.copy() for k, v in trees.flatten(original).items()}
  leaves['head/kernel'][:, :, FORGOTTEN] = 0
  leaves['head/bias'][:, FORGOTTEN] = -100
  return many, {
    'unlearned': trees.unflatten(leaves),
    'oracles': oracles,
    'original': original,
  }


def test_edits_of_the_head_alone_are_found(planted):
  many, models = planted
  data = many.data.subset(np.flatnonzero(many.data.labels == FORGOTTEN))
  x = data.all().x
  forgotten = accuracy.make()(
    unlearned=many.outputs(models['unlearned'], x),
    oracles=many.outputs(models['oracles'], x),
    labels=data.labels,
  )
  # By its answers the edit is perfect.
  assert (forgotten.unlearned == 0).all() and forgotten.at_floor
  features = {
    name: jax.vmap(many.model.features, in_axes=(0, None))(params, x)
    for name, params in models.items()
  }
  found = cka.make()(**features)
  assert found.to_original.low > 0.95
  assert found.oracles_to_original.high < 0.95
  assert not found.at_floor and found.value.high < found.floor.low


def test_oracles_are_not_taken_for_edits(planted):
  """The first half of the oracles against the others."""
  many, models = planted
  x = many.data.take(np.arange(300)).x
  features = jax.vmap(many.model.features, in_axes=(0, None))
  oracles = np.asarray(features(models['oracles'], x))
  found = cka.make()(
    unlearned=oracles[:3],
    oracles=oracles[3:],
    original=np.asarray(features(models['original'], x))[:3],
  )
  assert found.at_floor
