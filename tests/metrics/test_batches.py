"""How the examples were shared out in batches moves no value by 1e-6.

That their order does not either is for every metric to show, in the
conformance test.
"""

import jax
import numpy as np
import pytest

from unlearn_jax import keys, registry

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
