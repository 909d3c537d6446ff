"""What a study cannot do is said before any model is trained."""

import pytest

from tests.study import test_subsets
from unlearn_jax import errors
from unlearn_jax.fleet import fleet
from unlearn_jax.study import attribution, matching

WRONG = [
  ({'forget_size': 40}, '1..39'),
  ({'forget_sets': ('randm',)}, "Did you mean 'random'"),
  ({'forget_sets': ('owner',)}, 'only 0'),
  ({'models': 2}, 'models is at least 3, got 2'),
  ({'seeds': ()}, 'seeds names none'),
  ({'alphas': (2.0,)}, 'got 2.0'),
  ({'klom': {'variant': 'v9'}}, "'v9'"),
  ({'datamodel': {'estimator': 'rigde'}}, "Did you mean 'ridge'"),
  ({'methods': {'a': {'name': 'dm'}}}, "'dm'"),
  ({'methods': {'a': {'name': 'dmm', 'solver': {'name': 'sgd'}}}}, "'sgd'"),
  ({'methods': {'do nothing': {'name': 'dmm'}}}, 'a row of its own'),
  (
    {
      'methods': {
        'a': {
          'name': 'dmm',
          'attributor': {'name': 'trakk', 'checkpoints': 1},
        }
      }
    },
    "Did you mean 'trak'",
  ),
  ({'model': {'name': 'mpl'}}, "Did you mean 'mlp'"),
  ({'rows': 1797}, 'rows is 2..1796'),
]
WRONG_ATTRIBUTIONS = [
  ({'alpha': 1.0}, 'got 1.0'),
  ({'lds_masks': 2}, 'lds_masks is at least 3, got 2'),
  ({'lds_seeds': 0}, 'lds_seeds is at least 1, got 0'),
  ({'estimators': ('rigde',)}, "Did you mean 'ridge'"),
  ({'attributors': [{'name': 'trakk', 'checkpoints': 1}]}, "'trak'"),
]


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
  def refuse(*unused):
    raise AssertionError('a model was to be trained')

  monkeypatch.setattr(fleet.Fleet, 'train', refuse)


@pytest.mark.parametrize(('change', 'message'), WRONG)
def test_of_matching(change, message, tmp_path):
  with pytest.raises(errors.UnlearnError, match=message):
    matching.run(test_subsets.settings(**change), str(tmp_path))


@pytest.mark.parametrize(('change', 'message'), WRONG_ATTRIBUTIONS)
def test_of_attribution(change, message, tmp_path):
  with pytest.raises(errors.UnlearnError, match=message):
    attribution.run(test_subsets.settings(**change), str(tmp_path))
