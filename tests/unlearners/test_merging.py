"""Subtracting what many fine-tunings agree about, as far as others allow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import registry, trees
from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _words

FORGET = np.array([2, 5, 11])
SETTINGS = {'epochs': 20, 'candidates': 4, 'learning_rate': 0.2}


@pytest.fixture(scope='module')
def request_():
  mine = test_fleet.fleet(epochs=20)
  params = test_fleet.together(mine.train(np.ones((2, 21), bool)))
  return _words.Request(
    model=test_fleet.MODEL,
    params=params,
    data=test_fleet.data(),
    forget=FORGET,
    control=test_fleet.data(60),
    width=2,
  )


def changes(request, **settings):
  made = registry.make('unlearners', 'neg_merge', **SETTINGS, **settings)
  after = made(request).params
  return jax.tree.map(lambda a, b: b - a, after, request.params)


def test_only_what_all_agree_about_is_taken():
  agreed = registry.get('unlearners', 'neg_merge')._agreed
  before = jnp.array([1.0, 1.0, 1.0, 1.0])
  made = before[None] + jnp.array(
    [[0.25, 0.25, -1.0, 0.0], [0.5, -0.25, -0.5, 1.0]]
  )
  assert agreed(made, before).tolist() == [0.375, 0.0, -0.75, 0.0]


def test_the_amount_is_the_largest_that_the_control_rows_allow(request_):
  whole = changes(request_, keep=0.0)
  part = changes(request_, keep=0.95)
  control = request_.control
  x, y, *_ = control.all()

  def accuracy(amounts):
    params = jax.tree.map(
      lambda leaf, by: leaf - by * amounts.reshape(-1, *(1,) * (leaf.ndim - 1)),
      request_.params,
      whole,
    )
    logits = fleet.outputs(request_.model, params, x)
    return (logits.argmax(-1) == y).mean(axis=1)

  grid = np.linspace(0, 1, 21, dtype=np.float32)
  table = np.array([accuracy(np.full(2, amount)) for amount in grid])
  allowed = table >= 0.95 * table[0]
  expected = [grid[np.flatnonzero(column)[-1]] for column in allowed.T]
  assert min(expected) < 1  # or nothing was shown
  for path, leaf in trees.flatten(part).items():
    for i, amount in enumerate(expected):
      np.testing.assert_allclose(
        leaf[i], amount * trees.flatten(whole)[path][i], atol=1e-5
      )


def test_all_copies_are_paid_for(request_):
  made = registry.make('unlearners', 'neg_merge', **SETTINGS)(request_)
  assert made.record.gradients == 4 * 20 * 3
  assert made.record.outputs == 21 * 60
