"""What every metric must do; a new file in metrics/ is tested by being there.

A metric declares IDEAL, COST (the models it needs), `floor`, `make`, and
`null(seed)`: inputs in which there is nothing to be found. Keywords of `null`
that are in EXAMPLES say how many examples there are.
"""

import dataclasses
import inspect

import numpy as np
import pytest

from unlearn_jax import errors, registry

METRICS = registry.available('metrics')
EXAMPLES = (
  'canaries',
  'examples',
  'forget',
  'points',
  'population',
  'retain',
  'targets',
  'test',
  'unseen',
)
MANY = 101  # examples, where nothing else is as many
COSTS = ('efficiency',)  # small is ideal: retraining takes as long as itself
DRAWN = ('ulira',)  # asks about examples that it draws by their place
pytestmark = pytest.mark.parametrize('name', METRICS)


def _arrays(inputs):
  """The inputs with every tuple of arrays opened: (path, array)."""
  for key, value in inputs.items():
    fields = value._asdict() if hasattr(value, '_asdict') else {'': value}
    for field, array in fields.items():
      yield (key, field), array


def _replaced(inputs, path, array):
  key, field = path
  new = inputs[key]._replace(**{field: array}) if field else array
  return inputs | {key: new}


def _floats(inputs):
  return [
    (path, array)
    for path, array in _arrays(inputs)
    if np.asarray(array).dtype.kind == 'f'
  ]


def test_declares_its_ideal_and_its_floor(name):
  module = registry.get('metrics', name)
  assert isinstance(module.IDEAL, float)
  assert isinstance(module.COST, str) and module.COST
  assert next(iter(inspect.signature(module.floor).parameters)) in (
    'models',
    'masks',
    'trials',
  )
  assert module.floor(100) == module.floor(100)
  with pytest.raises(errors.DataError, match='at least'):
    module.floor(0)


@pytest.mark.parametrize('seed', range(4))
def test_nothing_to_find_is_at_the_floor(name, seed):
  module = registry.get('metrics', name)
  found = module.make()(**module.null(seed))
  assert found.at_floor
  assert found.value.low <= found.value.value <= found.value.high
  assert found.floor is not None


def test_same_inputs_same_value_and_inputs_unharmed(name):
  module = registry.get('metrics', name)
  inputs, untouched = module.null(0), module.null(0)
  first, second = (module.make()(**inputs) for _ in range(2))
  np.testing.assert_equal(dataclasses.asdict(first), dataclasses.asdict(second))
  for (_, mine), (_, kept) in zip(
    _arrays(inputs), _arrays(untouched), strict=True
  ):
    np.testing.assert_array_equal(mine, kept)


def test_a_model_against_itself_is_ideal(name):
  """Or, where the oracle's level is what counts, it is at that level."""
  module = registry.get('metrics', name)
  inputs = module.null(0)
  if name in COSTS or not {'unlearned', 'oracles'} <= set(inputs):
    pytest.skip('does not compare with oracles')
  found = module.make()(**(inputs | {'unlearned': inputs['oracles']}))
  assert found.value.value == pytest.approx(module.IDEAL, abs=1e-9) or (
    found.value == found.floor
  )


def _on_examples(name, change):
  """`null` with `change` of the examples of each kind, one after another."""
  module = registry.get('metrics', name)
  kinds = set(inspect.signature(module.null).parameters) & set(EXAMPLES)
  if not kinds:
    pytest.skip('is not given examples')
  for kind in sorted(kinds):
    inputs = changed = module.null(0, **{kind: MANY})
    for path, array in _arrays(inputs):
      for axis in np.flatnonzero(np.equal(np.shape(array), MANY)):
        changed = _replaced(changed, path, np.take(array, change, axis=axis))
    yield inputs, changed


def test_the_order_of_examples_is_nothing(name):
  order = np.random.default_rng(0).permutation(MANY)
  metric = registry.make('metrics', name)
  for inputs, moved in _on_examples(name, order):
    first, second = metric(**inputs).value, metric(**moved).value
    if name in DRAWN:
      assert first.low <= second.high and second.low <= first.high
    else:
      assert second.value == pytest.approx(first.value, abs=1e-6)


def test_no_examples_make_no_value(name):
  for _, none in _on_examples(name, []):
    with pytest.raises(errors.DataError):
      registry.make('metrics', name)(**none)


def test_single_precision_is_enough(name):
  module = registry.get('metrics', name)
  inputs = module.null(0)
  for path, array in _floats(inputs):
    inputs = _replaced(inputs, path, array.astype(np.float32))
  found = module.make()(**inputs).value
  np.testing.assert_allclose(
    found, module.make()(**module.null(0)).value, atol=1e-3
  )


@pytest.mark.parametrize(
  ('harm', 'complaint'),
  [
    (
      lambda x: np.where(np.arange(x.size).reshape(x.shape) == 1, np.nan, x),
      'NaN.*first',
    ),
    (lambda x: x[..., 1:], r'\d+, \d+'),
    (lambda x: x[..., 0, 0], 'axes'),
    (lambda x: x[..., :0], 'axes'),
    (lambda x: x.astype(str), 'numbers'),
  ],
)
def test_what_cannot_be_used_is_refused(name, harm, complaint):
  module = registry.get('metrics', name)
  inputs = module.null(0)
  assert _floats(inputs)
  for path, array in _floats(inputs):
    with pytest.raises(errors.DataError, match=complaint):
      module.make()(**_replaced(inputs, path, harm(array)))


def test_an_unknown_keyword_is_refused_by_name(name):
  with pytest.raises(errors.UnknownArgument, match='no_such_field'):
    registry.make('metrics', name, no_such_field=1)
