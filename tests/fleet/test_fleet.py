"""Many models at once are the models one by one, whoever they are with."""

import jax
import numpy as np
import optax
import pytest

from unlearn_jax import (
  errors,
  keys,
  losses,
  optimizers,
  registry,
  step,
  trees,
  types,
)
from unlearn_jax.fleet import fleet as fleet_lib

CLASSES = 3


def data(n=21, poison=None):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(n, 6)).astype(np.float32)
  ids = np.arange(n) * 3
  if poison is not None:
    x[poison] = np.nan
  return types.Dataset(
    name='noise',
    task=types.Task('classification', CLASSES),
    ids=ids,
    owners=ids,
    labels=rng.integers(0, CLASSES, n).astype(np.int32),
    read=lambda at: x[at],
    input_shape=(6,),
    mean=np.zeros(()),
    std=np.ones(()),
  )


MODEL = registry.make('models', 'mlp', num_outputs=CLASSES, hidden=[5])


def fleet(dataset=None, **fields):
  return fleet_lib.Fleet(
    **{
      'model': MODEL,
      'data': data() if dataset is None else dataset,
      'optimizer': optimizers.make('sgd', learning_rate=0.1, momentum=0.9),
      'schedule': optimizers.make_schedule('linear', warmup=0.2),
      'batch_size': 8,
      'epochs': 3,
      'width': 2,
      **fields,
    }
  )


def masks(count, n=21):
  return np.random.default_rng(1).random((count, n)) < 0.6


together = fleet_lib.together


def test_a_model_is_what_a_plain_loop_over_its_rows_makes():
  mine, seen = fleet(), masks(1)
  (chunk,) = mine.train(seen, [7])
  key = keys.stream(keys.root(0), 'fleet', 7)
  rows = mine.data.all()
  params = MODEL.init(keys.stream(key, 'init'), rows.x[:1])
  one_step = step.make_step(
    step.supervised(MODEL, losses.cross_entropy),
    mine.optimizer,
    schedule=mine.schedule,
  )
  state = step.init_state(params, mine.optimizer)
  for epoch in range(3):
    order = keys.shuffle(keys.stream(key, 'order', epoch), 21)
    for i, at in enumerate(np.split(np.asarray(order), [8, 16])):
      batch = types.Batch(
        rows.x[at],
        rows.y[at],
        seen[0, at].astype(np.float32),
        keys.id_words(rows.id[at]),
      )
      state, _ = one_step(state, batch, key, (epoch * 3 + i) / 9)
  for name, leaf in trees.flatten(state.params).items():
    found = trees.flatten(chunk.params)[name][0]
    np.testing.assert_allclose(found, leaf, rtol=1e-4, atol=1e-6)


def test_a_model_is_the_same_in_whatever_company():
  seen = masks(19)
  everyone = together(fleet().train(seen))
  few = together(fleet().train(seen[[3, 17]], [3, 17]))
  apart = jax.tree.map(lambda leaf: leaf[[3, 17]], everyone)
  assert trees.bit_diff(few, apart).equal
  # And other indices are other models, on the same rows too.
  other = together(fleet().train(seen[[3, 3]], [3, 4]))
  kernels = trees.flatten(other)['layer_0/kernel']
  assert (kernels[0] != kernels[1]).any()


def test_what_a_mask_leaves_out_leaves_no_trace():
  seen = masks(4)
  seen[:, 5] = False
  clean = together(fleet().train(seen))
  poisoned = together(fleet(data(poison=5)).train(seen))
  assert trees.bit_diff(clean, poisoned).equal
  seen[:, 5] = True
  assert not trees.all_finite(together(fleet(data(poison=5)).train(seen)))


def test_outputs_are_those_of_each_model_by_itself():
  made = together(fleet().train(masks(5)))
  x = np.random.default_rng(2).normal(size=(300, 6)).astype(np.float32)
  found = fleet().outputs(made, x)
  assert found.shape == (5, 300, CLASSES)
  for i in range(5):
    alone = MODEL.apply(jax.tree.map(lambda leaf, i=i: leaf[i], made), x)
    np.testing.assert_allclose(found[i], alone, rtol=1e-5, atol=1e-5)


def test_one_compilation_serves_every_chunk():
  traced = []

  def forward(*args, **kwargs):
    traced.append(None)
    return MODEL.forward(*args, **kwargs)

  counted = types.Model(init=MODEL.init, forward=forward)
  mine = fleet(model=counted)
  list(mine.train(masks(3 * 8)))
  before = len(traced)
  list(mine.train(masks(2 * 8), range(100, 116)))
  assert len(traced) == before > 0


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'masks': np.ones((2, 20), bool)}, r'masks are \[models, 21 rows\]'),
    ({'masks': np.ones(21, bool)}, r'got \[21\]'),
    ({'masks': np.ones((2, 21), bool), 'indices': [1]}, '1 indices of 2'),
  ],
)
def test_masks_that_do_not_fit_are_refused(wrong, message):
  with pytest.raises(errors.DataError, match=message):
    list(fleet().train(**wrong))


@pytest.mark.parametrize('field', ['width', 'epochs', 'batch_size'])
def test_sizes_are_checked(field):
  with pytest.raises(errors.ConfigError, match=field):
    fleet(**{field: 0})


def test_any_optimizer_of_optax_will_do():
  made = together(fleet(optimizer=optax.adam(1e-2)).train(masks(2)))
  assert trees.all_finite(made)


def test_what_begins_at_its_start_with_all_weights_is_a_plain_training():
  mine, seen = fleet(), masks(3)
  start = mine.starts([4, 5, 6])
  kept = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), start)
  plain = together(mine.train(seen, [4, 5, 6]))
  again = together(mine.train(seen, [4, 5, 6], start=start, kept=kept))
  for path, leaf in trees.flatten(plain).items():
    # Another program: the last bit is its own.
    np.testing.assert_allclose(
      trees.flatten(again)[path], leaf, rtol=1e-4, atol=1e-6
    )
  none = together(mine.train(seen, [4, 5, 6], end=0))
  assert trees.bit_diff(start, none).equal


def test_a_run_in_two_parts_is_the_run():
  # Augmentation shows that the draws of a step go by its number. The state of
  # an optimizer without momentum is empty.
  def noisy(row_keys, x):
    return x + jax.vmap(lambda key: jax.random.normal(key, (6,)))(row_keys)

  mine = fleet(optimizer=optax.sgd(0.1), augment=noisy)
  seen = masks(3)
  first = together(mine.train(seen, end=1))
  rest = together(mine.train(seen, start=first, begin=1))
  assert trees.bit_diff(together(mine.train(seen)), rest).equal
  not_advanced = together(mine.train(seen, start=first, end=2))
  assert not trees.bit_diff(rest, not_advanced).equal


@pytest.mark.parametrize(
  'optimizer',
  [
    optimizers.make('sgd', learning_rate=0.1, momentum=0.9, weight_decay=0.1),
    optax.adamw(1e-2, weight_decay=0.1),
  ],
  ids=['momentum', 'adamw'],
)
def test_weights_that_are_not_kept_keep_their_bits(optimizer):
  mine, rng = fleet(optimizer=optimizer, epochs=20), np.random.default_rng(3)
  start = mine.starts([0, 1, 2])
  kept = jax.tree.map(lambda leaf: rng.random(leaf.shape) < 0.5, start)
  made = together(mine.train(masks(3), start=start, kept=kept))  # 60 steps
  for path, leaf in trees.flatten(made).items():
    may, was = trees.flatten(kept)[path], trees.flatten(start)[path]
    np.testing.assert_array_equal(
      leaf[~may].view(np.uint32), was[~may].view(np.uint32)
    )
    assert (leaf[may] != was[may]).all()


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'begin': 2, 'end': 1}, r'0\.\.3, got 2\.\.1'),
    ({'end': 4}, r'got 0\.\.4'),
    ({'begin': -1}, r'got -1\.\.3'),
  ],
)
def test_epochs_that_there_are_not_are_refused(wrong, message):
  with pytest.raises(errors.ConfigError, match=message):
    list(fleet().train(masks(2), **wrong))


@pytest.mark.parametrize('name', ['start', 'kept'])
def test_a_start_for_other_models_is_refused(name):
  with pytest.raises(errors.DataError, match=f'{name} .*3.* for 2'):
    list(fleet().train(masks(2), **{name: fleet().starts([0, 1, 2])}))
