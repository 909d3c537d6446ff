"""The influence unlearner against a dense solve of 2,000 unknowns."""

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, registry, trees, types
from unlearn_jax.unlearners import _words

N, CLASSES, DAMPING = 200, 10, 0.01
MODEL = registry.make('models', 'mlp', num_outputs=CLASSES, hidden=[40])
FORGET = np.arange(0, 20)
RETAIN = np.arange(20, N)


def data():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N, 40)).astype(np.float32)
  return types.Dataset(
    name='planted',
    task=types.Task('classification', CLASSES),
    ids=np.arange(N),
    owners=np.arange(N),
    labels=(x @ rng.normal(size=(40, CLASSES))).argmax(1).astype(np.int32),
    read=lambda at: x[at],
    input_shape=(40,),
    mean=np.zeros(()),
    std=np.ones(()),
  )


@pytest.fixture(scope='module')
def params():
  mine = test_fleet.fleet(data(), model=MODEL, epochs=5, batch_size=20)
  made = test_fleet.together(mine.train(np.ones((1, N), bool)))
  assert trees.count(made) == 2050
  return made


def flat(tree):
  leaves = trees.flatten(tree).values()
  return np.concatenate([np.ravel(leaf) for leaf in leaves]).astype(np.float64)


@pytest.fixture(scope='module')
def dense(params):
  """The curvature, the right side and the gradients, in double precision."""
  leaves = trees.flatten(jax.tree.map(lambda leaf: leaf[0], params))
  x, y, *_ = data().all()
  jacobian = jax.jit(
    jax.jacrev(lambda p, x: MODEL.apply(trees.unflatten(p), x))
  )(leaves, x)
  jacobian = np.concatenate(
    [np.reshape(jacobian[path], (N, CLASSES, -1)) for path in leaves], axis=2
  ).astype(np.float64)
  p = np.array(jax.nn.softmax(MODEL.apply(trees.unflatten(leaves), x)), float)
  slopes = np.einsum('nc,ncp->np', p - np.eye(CLASSES)[y], jacobian)
  bend = p[:, :, None] * np.eye(CLASSES) - p[:, :, None] * p[:, None]
  j, h = jacobian[RETAIN], bend[RETAIN]
  half = np.einsum('ncd,ndp->ncp', h, j).reshape(-1, j.shape[-1])
  curved = j.reshape(-1, j.shape[-1]).T @ half / len(RETAIN)
  right = slopes[FORGET].sum(0) / N
  right -= len(FORGET) / (N * len(RETAIN)) * slopes[RETAIN].sum(0)
  return curved, right, slopes


def moved(params, kept=None, **settings):
  request = _words.Request(
    model=MODEL, params=params, data=data(), forget=FORGET, kept=kept
  )
  made = registry.make('unlearners', 'influence', **settings)(request)
  return flat(made.params) - flat(params), made.record


def error(found, wanted):
  return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def test_newton_is_the_dense_solve(params, dense):
  curved, right, _ = dense
  wanted = np.linalg.solve(curved + DAMPING * np.eye(len(right)), right)
  found, record = moved(params, damping=DAMPING)
  assert error(found, wanted) < 0.05
  half, _ = moved(params, damping=DAMPING, step=0.5)
  assert error(2 * half, wanted) < 0.05
  # It stops when it is there, and says what that has cost.
  products = (record.gradients - N) / len(RETAIN)
  assert products == int(products) and 3 < products < 100
  short, record = moved(params, damping=DAMPING, iterations=2)
  assert record.gradients == N + 2 * len(RETAIN)
  assert error(short, wanted) > error(found, wanted)


def test_the_published_recursion_is_no_inverse(params, dense):
  curved, right, slopes = dense
  wanted = np.linalg.solve(curved + DAMPING * np.eye(len(right)), right)
  found, _ = moved(params, form='legacy')
  assert error(found, wanted) > 0.9
  # It has moved along the right side and one gradient, and nowhere else.
  plane = np.stack([right, slopes[RETAIN[0]]], axis=1)
  inside = plane @ np.linalg.lstsq(plane, found)[0]
  assert error(inside, found) < 0.01


def test_held_weights_are_no_directions(params, dense):
  curved, right, _ = dense
  kept = jax.tree.map(
    lambda leaf: np.random.default_rng(leaf.size).random(leaf.shape) < 0.3,
    params,
  )
  at = np.flatnonzero(flat(kept))
  inner = curved[np.ix_(at, at)] + DAMPING * np.eye(len(at))
  found, _ = moved(params, kept=kept, damping=DAMPING)
  assert error(found[at], np.linalg.solve(inner, right[at])) < 0.05
  assert not np.delete(found, at).any()


def test_an_unknown_form(params):
  with pytest.raises(errors.UnlearnError, match='exact'):
    moved(params, form='exact')
