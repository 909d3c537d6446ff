"""What weights matter to: of examples, whatever the batches, by plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, losses, registry, trees
from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _looks, _passes, _words

MODEL, N = test_fleet.MODEL, 70
FORGET = np.arange(3, 40, 4)


@pytest.fixture(scope='module')
def params():
  mine = test_fleet.fleet(test_fleet.data(N), epochs=20)
  return test_fleet.together(mine.train(np.ones((1, N), bool)))


def one(params):
  return jax.tree.map(lambda leaf: leaf[0], params)


def request(params, **fields):
  data = test_fleet.data(N)
  return _words.Request(
    model=MODEL, params=params, data=data, forget=FORGET, **fields
  )


def unlearned(name, params, **settings):
  found = registry.make('unlearners', name, **settings)(request(params))
  return trees.flatten(found.params)


def rows_of(at, padding=0):
  x, y, *_ = test_fleet.data(N).take(np.pad(at, (0, padding)))
  weight = np.pad(np.ones(len(at), np.float32), (0, padding))
  ids = np.zeros((len(x), 2), np.uint32)
  return _passes.Rows(x, y, ids, weight, np.int32(len(at)))


def flat(tree):
  return np.concatenate([np.ravel(x) for x in trees.flatten(tree).values()])


def gradients(params, at, loss):
  """[rows, weights], a row at a time."""
  x, y, *_ = test_fleet.data(N).take(at)
  gradient = jax.jit(jax.grad(lambda p, x, y: loss(MODEL.apply(p, x), y)[0]))
  return np.stack(
    [flat(gradient(params, x[i : i + 1], y[i : i + 1])) for i in range(len(x))]
  )


def batches(rows, size):
  return [rows[i : i + size] for i in range(0, len(rows), size)]


@pytest.mark.parametrize('size', [1, 16, 256])
def test_importance_does_not_depend_on_the_batch(params, size):
  data = _passes.Data(None, None, None, task=test_fleet.data().task)
  made = _looks.mean_of_gradients(
    jnp.square, MODEL, one(params), data, rows_of(FORGET, 6), data.loss, size
  )
  by_hand = (gradients(one(params), FORGET, losses.cross_entropy) ** 2).mean(0)
  np.testing.assert_allclose(flat(made), by_hand, rtol=1e-3, atol=1e-7)


def length(outputs, y):
  return jnp.sum(outputs**2, axis=-1)


@pytest.mark.parametrize(
  ('name', 'settings', 'loss', 'function', 'batch'),
  [
    ('ssd', {}, losses.cross_entropy, np.square, 1),
    (
      'ssd',
      {'form': 'legacy', 'batch_size': 8},
      losses.cross_entropy,
      np.square,
      8,
    ),
    ('ssd_label_free', {}, length, np.abs, 1),
  ],
  ids=['ssd', 'legacy', 'label free'],
)
def test_dampening_by_hand(params, name, settings, loss, function, batch):
  retain = np.setdiff1d(np.arange(N), FORGET)
  goes, stays = (
    np.mean(
      [
        function(some.mean(0))
        for some in batches(gradients(one(params), at, loss), batch)
      ],
      axis=0,
    )
    for at in (FORGET, retain)
  )
  made = flat(unlearned(name, params, threshold=1.1, strength=0.9, **settings))
  everything = (len(FORGET) * goes + len(retain) * stays) / N
  chosen = goes > 1.1 * everything
  assert 0 < chosen.sum() < chosen.size
  factor = np.minimum(0.9 * everything / np.where(chosen, goes, 1.0), 1.0)
  before = flat(params)
  expected = np.where(chosen, factor * before, before)
  np.testing.assert_allclose(made, expected, rtol=1e-3, atol=1e-6)


def variances(params, form, strength):
  """Of the noise, by hand; `form` says how the information is taken."""
  retain = np.setdiff1d(np.arange(N), FORGET)
  x = test_fleet.data(N).take(retain).x
  p = np.asarray(jax.nn.softmax(MODEL.apply(params, x)))
  slopes = np.stack(
    [
      gradients(params, retain, lambda z, y, k=k: jax.nn.log_softmax(z)[:, k])
      for k in range(test_fleet.CLASSES)
    ],
    axis=1,
  )
  batch = 32 if form == 'legacy' else 1
  fisher = np.mean(
    [
      p_some.mean(0) @ some.mean(0) ** 2
      for p_some, some in zip(
        batches(p, batch), batches(slopes, batch), strict=True
      )
    ],
    axis=0,
  )
  found, begin = {}, 0
  for path, leaf in trees.flatten(params).items():
    mine = fisher[begin : begin + leaf.size].reshape(leaf.shape)
    begin += leaf.size
    head = path.startswith('head')
    variance = strength * np.minimum(1 / (mine + 1e-8), 1e2 if head else 1e3)
    if leaf.ndim == 2:
      variance = np.broadcast_to(variance.mean(0), leaf.shape)
    found[path] = variance * (10 if head or leaf.ndim == 1 else 1)
  return found


COPIES = 400


def noise(params, **settings):
  """How copies of one model move."""
  many = jax.tree.map(lambda leaf: np.repeat(leaf, COPIES, axis=0), params)
  made = registry.make('unlearners', 'fisher_forgetting', **settings)(
    request(many, width=50)
  )
  before = trees.flatten(params)
  return {
    path: leaf - before[path]
    for path, leaf in trees.flatten(made.params).items()
  }


@pytest.mark.parametrize('form', ['examples', 'legacy'])
def test_fisher_noise_is_what_the_rows_that_stay_allow(params, form):
  moved = noise(params, form=form, strength=1e-4)
  expected = variances(one(params), form, 1e-4)
  for path, leaf in moved.items():
    ratio = leaf.var(axis=0) / expected[path]
    # A variance of so many draws is itself uncertain by this part.
    doubt = np.sqrt(2 / COPIES)
    assert (np.abs(ratio - 1) < 5 * doubt).all()
    assert abs(ratio.mean() - 1) < 5 * doubt / np.sqrt(ratio.size)
    # No class is wiped unless it is named: all means stay where they are.
    error = np.sqrt(expected[path] / COPIES)
    assert (np.abs(leaf.mean(axis=0)) < 5 * error).all()


def test_a_class_is_wiped_only_by_name(params):
  moved = noise(params, strength=1e-6, wipe_class=1)['head/kernel']
  kernel = one(params)['head']['kernel']
  assert np.abs(moved.mean(axis=0)[:, 1] + kernel[:, 1]).max() < 0.01
  assert np.abs(moved.mean(axis=0)[:, [0, 2]]).max() < 0.01
  for wrong in (-1, 3):
    with pytest.raises(errors.ConfigError, match=f'0..2, got {wrong}'):
      unlearned('fisher_forgetting', params, wipe_class=wrong)


def test_many_classes_are_drawn_from_the_models_answer(params, monkeypatch):
  module = registry.get('unlearners', 'fisher_forgetting')
  rows = rows_of(FORGET)._replace(id=np.stack([FORGET, FORGET], 1))
  data = _passes.Data(None, rows, None, task=test_fleet.data().task)

  def information(key):
    return module._of_examples(MODEL, one(params), data, key)

  draws = jax.random.split(jax.random.key(0), 1000)
  summed = flat(jax.jit(information)(draws[0]))
  monkeypatch.setattr(module, '_MOST_CLASSES', 2)
  drawn = jax.jit(jax.vmap(lambda key: information(key)))(draws)
  drawn = np.concatenate(
    [leaf.reshape(len(draws), -1) for leaf in trees.flatten(drawn).values()], 1
  )
  # One draw is noisy, and the mean of many is the sum over all classes.
  doubt = drawn.std(0) / np.sqrt(len(draws))
  assert doubt.min() > 0
  assert (np.abs(drawn.mean(0) - summed) < 5 * doubt).all()


def test_potion_stops_when_enough_answers_have_changed(params):
  x = test_fleet.data(N).take(FORGET).x
  asked = fleet.outputs(MODEL, params, x)[0].argmax(-1)
  left, moved = [], []
  for remain in (1.0, 0.2):
    made = registry.make('unlearners', 'potion', remain=remain)(request(params))
    answers = fleet.outputs(MODEL, made.params, x)[0].argmax(-1)
    left.append((answers == asked).mean())
    moved.append((flat(made.params) != flat(params)).sum())
  assert left[1] < left[0] == 1.0 and 0 < moved[0] < moved[1]
