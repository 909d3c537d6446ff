"""Of every comparison: itself is ideal, nothing is refused, order is nothing.

The order and the batches in which examples were looked at may move a value by
1e-6 at most.
"""

import jax
import numpy as np
import pytest

from unlearn_jax import errors, keys, registry
from unlearn_jax.metrics import relearn

OF_EXAMPLES = (
  'accuracy',
  'activation_distance',
  'attack_success',
  'cka',
  'confusion',
  'corrective',
  'disagreement',
  'js_divergence',
  'knn',
  'wasserstein',
  'zrf',
)
COMPARISONS = (*OF_EXAMPLES, 'gap', 'relearn', 'retention', 'tow')


def _mapped(function, inputs):
  """`function` of every array, those in tuples too."""
  return jax.tree.map(
    lambda x: function(x) if isinstance(x, np.ndarray) else x, inputs
  )


def _axis(array):
  """Where the examples stand: behind the models, or first."""
  return 1 if array.ndim == 3 else 0


@pytest.mark.parametrize('name', COMPARISONS)
def test_a_model_against_itself_is_ideal(name):
  module = registry.get('metrics', name)
  inputs = module.null(0)
  found = module.make()(**(inputs | {'unlearned': inputs['oracles']}))
  np.testing.assert_allclose(found.value, module.IDEAL, atol=1e-9)


@pytest.mark.parametrize('name', ('verification',))
def test_the_same_parameters_are_no_distance_apart(name):
  module = registry.get('metrics', name)
  inputs = module.null(0)
  found = module.make()(**(inputs | {'unlearned': inputs['oracles']}))
  assert (found.per_model == 0).all() and not found.at_floor


@pytest.mark.parametrize('name', OF_EXAMPLES)
def test_no_examples_make_no_value(name):
  inputs = registry.get('metrics', name).null(0)
  none = _mapped(lambda x: np.take(x, [], axis=_axis(x)), inputs)
  with pytest.raises(errors.DataError):
    registry.make('metrics', name)(**none)


@pytest.mark.parametrize('name', OF_EXAMPLES)
def test_the_order_of_examples_is_nothing(name):
  inputs = registry.get('metrics', name).null(0)
  rng = np.random.default_rng(0)
  orders = {}

  def shuffled(x):
    size = x.shape[_axis(x)]
    order = orders.setdefault(size, rng.permutation(size))
    return np.take(x, order, axis=_axis(x))

  metric = registry.make('metrics', name)
  moved = metric(**_mapped(shuffled, inputs))
  np.testing.assert_allclose(
    moved.per_model, metric(**inputs).per_model, rtol=0, atol=1e-6
  )
  assert orders


@pytest.fixture(scope='module')
def in_batches():
  """Logits and features of small nets, all at once and 7 rows at a time."""
  model = registry.make('models', 'mlp', num_outputs=4, hidden=[8])
  x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
  params = jax.vmap(lambda key: model.init(key, x[:1]))(
    jax.random.split(keys.root(0), 12)
  )
  forward = jax.vmap(model.forward, in_axes=(0, None))
  parts = [forward(params, x[i : i + 7]) for i in range(0, 60, 7)]
  return forward(params, x), [
    np.concatenate([np.asarray(part[field]) for part in parts], axis=1)
    for field in (0, 1)
  ]


@pytest.mark.parametrize('name', OF_EXAMPLES)
def test_the_batches_of_the_models_are_nothing(name, in_batches):
  field = 1 if name in ('cka', 'knn') else 0
  values = []
  for outputs in in_batches:
    third = np.split(np.asarray(outputs[field]), 3)
    inputs = registry.get('metrics', name).null(0)
    inputs |= dict(zip(('unlearned', 'oracles'), third, strict=False))
    rows = np.arange(60)
    if name in ('attack_success', 'confusion', 'corrective'):
      module = registry.get('metrics', name)
      for side in ('unlearned', 'oracles'):
        inputs[side] = module.Outputs(inputs[side], inputs[side])
      inputs['labels'] = module.Labels(rows % 4, rows % 4)
    elif 'labels' in inputs:
      inputs['labels'] = rows % 4
    inputs |= {
      'cka': {'original': third[2]},
      'knn': {'ids': rows},
      'zrf': {'random': np.concatenate(third[1:])},
      'wasserstein': {'targets': third[2][0]},
    }.get(name, {})
    values.append(registry.make('metrics', name)(**inputs).per_model)
  np.testing.assert_allclose(*values, rtol=0, atol=1e-6)
  assert np.ptp(values[0]) > 0


def test_the_order_of_data_orders_is_nothing():
  inputs = relearn.null(0)
  turned = {
    name: curves._replace(
      loss=curves.loss[:, ::-1], accuracy=curves.accuracy[:, ::-1]
    )
    for name, curves in inputs.items()
  }
  np.testing.assert_allclose(
    relearn.make()(**turned).per_model, relearn.make()(**inputs).per_model
  )
