import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unlearn_jax import keys, losses, optimizers, registry, step, trees, types

GOLDEN = """
The step no longer computes what it did. If that is what you meant (another
update rule, another random stream, another initialization), put the new
numbers here and say so in the commit: every trained system changes with them.
"""


def _table(n=24, classes=3):
  rng = np.random.default_rng(0)
  table = step.Table(
    rng.normal(size=(n, 4)).astype(np.float32),
    (np.arange(n) % classes).astype(np.int32),
    keys.id_words(np.arange(n)),
  )
  return jax.device_put(table)


def _setup(optimizer=None, **kwargs):
  model = registry.make(
    'models', 'mlp', num_outputs=3, hidden=(8,), dropout=0.25
  )
  optimizer = optimizer or optax.adam(0.01)
  one_step = step.make_step(
    step.supervised(model, losses.cross_entropy), optimizer, **kwargs
  )
  params = model.init(keys.root(0), np.zeros((1, 4), np.float32))
  trainable = kwargs.get('trainable', types.not_stats)
  return one_step, step.init_state(params, optimizer, trainable)


def _batch(positions):
  return step.gather(_table(), jnp.array(positions))


def test_golden_step():
  one_step, state = _setup(optax.sgd(0.1))
  state, loss = jax.jit(one_step)(state, _batch(range(8)), keys.root(1))
  found = [float(loss)] + [
    float(jnp.sum(jnp.abs(leaf)))
    for leaf in trees.flatten(state.params).values()
  ]
  np.testing.assert_allclose(
    found,
    [0.99048, 0.005521275, 7.403638, 0.05087811, 13.67135],
    rtol=2e-5,
    err_msg=GOLDEN,
  )


@pytest.mark.parametrize('poison', [np.nan, np.inf, 1e30])
def test_padding_rows_leave_no_trace(poison):
  one_step, state = _setup()
  clean = _batch([0, 1, -1, -1])
  poisoned = clean._replace(
    x=clean.x.at[2:].set(poison), y=clean.y.at[2:].set(99)
  )
  results = [
    jax.jit(one_step)(state, batch, keys.root(0)) for batch in (clean, poisoned)
  ]
  assert trees.bit_diff(*results).equal
  assert trees.all_finite(results[1])
  # The guard is on rows, not on the whole batch: a real row still counts.
  moved = clean._replace(x=clean.x.at[0].add(1.0))
  other = jax.jit(one_step)(state, moved, keys.root(0))
  assert not trees.bit_diff(results[0], other).equal


def test_a_batch_of_padding_has_loss_zero_and_no_gradient():
  one_step, state = _setup(optax.sgd(1.0))
  after, loss = jax.jit(one_step)(state, _batch([-1] * 4), keys.root(0))
  assert loss == 0
  assert trees.bit_diff(after.params, state.params).equal


def test_only_the_chosen_leaves_move():
  chosen = lambda path: path.startswith('head/')  # noqa: E731
  one_step, state = _setup(
    optimizers.make('adamw', learning_rate=0.1), trainable=chosen
  )
  after, _ = jax.jit(one_step)(state, _batch(range(8)), keys.root(0))
  before_parts = trees.partition(state.params, chosen)
  after_parts = trees.partition(after.params, chosen)
  assert trees.bit_diff(before_parts[1], after_parts[1]).equal
  for path, leaf in before_parts[0].items():
    assert (np.asarray(leaf) != np.asarray(after_parts[0][path])).any(), path
  assert trees.count(state.opt_state) < 3 * trees.count(before_parts[0])


def test_the_schedule_scales_the_update():
  full, state = _setup(optax.sgd(1.0))
  half, _ = _setup(optax.sgd(1.0), schedule=optimizers.make_schedule('linear'))
  batch, key = _batch(range(8)), keys.root(0)
  whole = full(state, batch, key)[0].params['head']['bias']
  halved = half(state, batch, key, 0.5)[0].params['head']['bias']
  np.testing.assert_allclose(halved, whole / 2, rtol=1e-5)


def test_dropout_belongs_to_the_example():
  """The same example in another place of the batch has the same mask."""
  model = registry.make(
    'models', 'mlp', num_outputs=2, hidden=(64,), dropout=0.5
  )
  x = np.ones((4, 3), np.float32)
  params = model.init(keys.root(0), x)
  row_keys = keys.rows(keys.root(1), keys.id_words(np.array([5, 6, 7, 8])))
  forward = jax.jit(
    lambda k: model.forward(params, x, key=k, train=True).features
  )
  features = forward(row_keys)
  swapped = forward(row_keys[::-1])
  assert (features == swapped[::-1]).all()
  assert (features[0] != features[1]).any()


def _run(loop, state, plan, cuts, key):
  table = _table()
  for begin, end in zip(cuts, cuts[1:], strict=False):
    state, _ = loop(state, table, plan, key, begin, end, len(plan))
  return state


def test_a_loop_cut_in_chunks_is_the_same_loop_and_compiles_once():
  one_step, state = _setup(
    schedule=optimizers.make_schedule('cosine', warmup=0.2)
  )
  loop = jax.jit(chex.assert_max_traces(step.make_loop(one_step), n=1))
  plan = np.arange(24, dtype=np.int32).reshape(6, 4)
  plan[-1, 2:] = -1
  whole = _run(loop, state, plan, [0, 6], keys.root(0))
  cut = _run(loop, state, plan, [0, 1, 4, 4, 6], keys.root(0))
  assert trees.bit_diff(whole, cut).equal
  assert int(whole.step) == 6
  # A longer plan of which only the first rows are used: same bits.
  longer = np.concatenate([plan, np.full((2, 4), -1, np.int32)])
  loop = jax.jit(step.make_loop(one_step))
  padded, _ = loop(state, _table(), longer, keys.root(0), 0, 6, 6)
  assert trees.bit_diff(whole, padded).equal


def test_the_loop_does_what_single_steps_do():
  one_step, state = _setup()
  plan = np.arange(24, dtype=np.int32).reshape(3, 8)
  looped, loss_sum = jax.jit(step.make_loop(one_step))(
    state, _table(), plan, keys.root(0), 0, 3, 3
  )
  total = 0.0
  for row in plan:
    state, loss = jax.jit(one_step)(state, _batch(row), keys.root(0))
    total += float(loss)
  np.testing.assert_allclose(float(loss_sum), total, rtol=1e-6)
  chex.assert_trees_all_close(looped.params, state.params, rtol=1e-5, atol=1e-6)


def test_each_step_has_dropout_of_its_own():
  one_step, state = _setup(optax.sgd(0.0))
  batch, key = _batch(range(8)), keys.root(0)
  one_step = jax.jit(one_step)
  first = one_step(state, batch, key)[1]
  assert first == one_step(state, batch, key)[1]
  # Nothing has moved but the count of steps.
  assert first != one_step(state._replace(step=state.step + 1), batch, key)[1]


def test_a_nan_target_in_the_row_that_padding_gathers_leaves_no_trace():
  """Padding gathers row 0, whose target may be anything."""
  model = registry.make('models', 'linear', num_outputs=2)
  optimizer = optax.sgd(0.1)
  one_step = jax.jit(
    step.make_step(step.supervised(model, losses.squared_error), optimizer)
  )
  x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
  results = []
  for target in (0.0, np.nan):
    y = np.ones((4, 2), np.float32)
    y[0] = target
    table = jax.device_put(step.Table(x, y, keys.id_words(np.arange(4))))
    params = model.init(keys.root(0), x)
    state = step.init_state(params, optimizer)
    batch = step.gather(table, jnp.array([1, 2, -1]))
    results.append(one_step(state, batch, keys.root(0)))
  assert trees.bit_diff(*results).equal
  assert trees.all_finite(results[1])


def test_augmentation_has_a_stream_of_its_own():
  """Not the row's key itself, which feeds dropout."""
  seen = []

  def augment(row_keys, x):
    seen.append(jax.random.key_data(row_keys))
    return x

  model = registry.make('models', 'linear', num_outputs=3)
  objective = step.supervised(model, losses.cross_entropy, augment)
  batch = _batch(range(4))
  row_keys = keys.rows(keys.root(0), batch.id)
  objective(model.init(keys.root(0), batch.x), batch, row_keys)
  expected = [keys.stream(key, 'augment') for key in row_keys]
  for found, key in zip(seen[0], expected, strict=True):
    assert (found == jax.random.key_data(key)).all()


def test_a_loss_sum_goes_on_where_it_is_given():
  one_step, state = _setup()
  loop = jax.jit(step.make_loop(one_step))
  plan = np.arange(24, dtype=np.int32).reshape(6, 4)
  run = (_table(), plan, keys.root(0))
  _, whole = loop(state, *run, 0, 6, 6, np.float32(0))
  state, part = loop(state, *run, 0, 2, 6, np.float32(0))
  _, rest = loop(state, *run, 2, 6, 6, part)
  assert rest == whole > part
