import jax.numpy as jnp
import numpy as np
import pytest

from unlearn_jax import (
  augment,
  errors,
  losses,
  optimizers,
  registry,
  training,
  trees,
  types,
)


def _model(**kwargs):
  return registry.make('models', 'mlp', num_outputs=3, hidden=(8,), **kwargs)


def _data(n=37, poison=None, kind='classification'):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(n, 4, 4, 1)).astype(np.float32)
  labels = (np.arange(n) % 3).astype(np.int32)
  if kind == 'regression':
    labels = x.reshape(n, -1)[:, :3] * 2
  return types.Dataset(
    name='made up',
    task=types.Task(kind, 3),
    ids=np.arange(n) * 10,
    owners=np.arange(n),
    labels=labels,
    read=lambda p: x[p],
    input_shape=(4, 4, 1),
    mean=np.float32(0),
    std=np.float32(1),
  )


def _chunks(data, *, state=None, model=None, **kwargs):
  arguments = {
    'optimizer': optimizers.make('adamw', learning_rate=0.01),
    'schedule': optimizers.make_schedule('cosine', warmup=0.1),
    'augment': augment.make({'shift': 1, 'flip': True}),
    'batch_size': 8,
    'epochs': 3,
    'seed': 0,
  }
  model = model or _model(dropout=0.2)
  return training.fit(model, data, state=state, **{**arguments, **kwargs})


def _fit(data, *, stop_at=None, **kwargs):
  """The state at the end, or after the first chunk from row `stop_at` on."""
  for chunk in _chunks(data, **kwargs):
    if stop_at is not None and chunk.row >= stop_at:
      break
  return chunk


def test_every_epoch_sees_every_example_once():
  ids = np.arange(37) * 10
  rows = training.plan(ids, epochs=3, batch_size=8, seed=0).reshape(3, -1)
  for row in rows:
    assert sorted(row[row >= 0].tolist()) == list(range(37))
    assert (row[37:] == -1).all()
  assert (rows[0] != rows[1]).any() and (rows[1] != rows[2]).any()
  other = training.plan(ids, epochs=3, batch_size=8, seed=1).reshape(3, -1)
  assert (other != rows).any()


def test_an_interrupted_fit_ends_with_the_same_bits():
  """Between epochs and inside one: Adam, schedule, dropout, augmentation."""
  whole = _fit(_data())
  assert whole.row == whole.total == 15
  for stop_at in (1, 5, 8):
    part = _fit(_data(), stop_at=stop_at)
    assert part.row < whole.row
    rest = _fit(_data(), state=part.state)
    assert trees.bit_diff(rest.state, whole.state).equal, stop_at


def test_a_state_that_is_given_is_not_consumed():
  model = _model(dropout=0.2)
  optimizer = optimizers.make('adamw', learning_rate=0.01)
  state = training.initial_state(model, _data(), optimizer, 0)
  before = trees.digest(state)
  first = _fit(_data(), state=state, model=model)
  assert trees.digest(state) == before
  assert trees.bit_diff(first.state, _fit(_data()).state).equal


def test_order_in_the_file_does_not_matter():
  data = _data()
  shuffled = data.subset(np.random.default_rng(1).permutation(len(data)))
  assert trees.bit_diff(_fit(data).state, _fit(shuffled).state).equal


def test_seeds_differ():
  assert trees.digest(_fit(_data()).state) != trees.digest(
    _fit(_data(), seed=1).state
  )


def test_predictions_do_not_depend_on_the_batch():
  data, model = _data(300), _model()
  params = training.initial_state(
    model, data, optimizers.make('adam', learning_rate=0.1), 0
  ).params
  whole = training.predict(model, params, data)
  assert whole.shape == (300, 3)
  part = training.predict(model, params, data.subset(np.arange(250, 300)))
  assert (whole[250:] == part).all()
  empty = training.predict(model, params, data.subset([]))
  assert empty.shape == (0, 3)


def test_scores_of_both_tasks():
  data, model = _data(), _model()
  last = _fit(data, model=model, epochs=1)
  outputs = training.predict(model, last.state.params, data)
  scores = training.evaluate(model, last.state.params, data)
  expected = np.mean(outputs.argmax(1) == data.labels)
  np.testing.assert_allclose(scores['accuracy'], expected, rtol=1e-6)
  expected = np.mean(losses.cross_entropy(outputs, data.labels))
  np.testing.assert_allclose(scores['loss'], expected, rtol=1e-5)

  data = _data(kind='regression')
  linear = registry.make('models', 'linear', num_outputs=3)
  arguments = {'optimizer': optimizers.make('adam', learning_rate=0.05)}
  last = _fit(data, model=linear, epochs=60, augment=None, **arguments)
  scores = training.evaluate(linear, last.state.params, data)
  assert scores['r2'] > 0.99
  with pytest.raises(errors.DataError, match='made up'):
    training.evaluate(linear, last.state.params, data.subset([]))


def test_no_rows_is_an_error():
  with pytest.raises(errors.DataError, match='no rows'):
    _fit(_data().subset([]))


def test_a_diverging_fit_stops_and_says_where():
  sgd = optimizers.make('sgd', learning_rate=1e30)
  with pytest.raises(errors.TrainingDiverged, match='steps'):
    _fit(_data(), optimizer=sgd)


def test_the_loss_is_the_mean_of_the_epoch_so_far_wherever_it_is_cut(
  monkeypatch,
):
  whole = [
    (chunk.row, chunk.loss) for chunk in _chunks(_data()) if chunk.epoch_ended
  ]
  monkeypatch.setattr(training, '_SECONDS_A_CHUNK', 0.0)  # one step each
  singly = list(_chunks(_data()))
  assert len(singly) == 15
  ends = [(chunk.row, chunk.loss) for chunk in singly if chunk.epoch_ended]
  assert ends == whole
  # A resumed fit ends its epochs with the same numbers.
  for part in _chunks(_data()):
    if part.row == 5:
      break
  rest = _chunks(_data(), state=part.state)
  assert [(c.row, c.loss) for c in rest if c.epoch_ended] == whole[1:]


@pytest.mark.parametrize(
  'change',
  [
    {'schedule': optimizers.constant},
    {'augment': None},
    {'label_smoothing': 0.1},
  ],
)
def test_every_argument_of_a_fit_counts(change):
  assert trees.digest(_fit(_data()).state.params) != trees.digest(
    _fit(_data(), **change).state.params
  )


def test_a_fit_that_diverges_in_its_last_step_says_so():
  def jump(progress):  # the last of three steps is the only one that moves
    return jnp.where(progress > 0.6, jnp.inf, 0.0)

  with pytest.raises(errors.TrainingDiverged, match='step 3, the last'):
    _fit(_data(24), epochs=1, schedule=jump)
