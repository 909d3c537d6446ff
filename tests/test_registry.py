import pytest

from unlearn_jax import errors, registry


def test_a_file_is_a_component():
  assert {'data', 'models'} <= set(registry.kinds())
  assert 'mlp' in registry.available('models')
  assert not any(n.startswith('_') for n in registry.available('models'))


def test_unknown_names_list_what_exists():
  with pytest.raises(errors.UnknownName, match="'model'.*'models'.*data"):
    registry.available('model')
  with pytest.raises(
    errors.UnknownName, match="'mpl'.*Did you mean 'mlp'.*vit"
  ):
    registry.make('models', 'mpl', num_outputs=2)


def test_unknown_and_missing_keywords_are_named():
  with pytest.raises(
    errors.UnknownArgument, match="'hiden'.*'hidden'.*dropout"
  ):
    registry.make('models', 'mlp', num_outputs=2, hiden=(3,))
  with pytest.raises(errors.UnknownArgument, match='missing.*num_outputs'):
    registry.make('models', 'mlp')


@pytest.mark.parametrize('kind', registry.kinds())
def test_every_component_is_made_by_keywords_only(kind):
  for name in registry.available(kind):
    module = registry.get(kind, name)
    assert module.__doc__, f'{kind}/{name} has no docstring'
    assert module.make.__doc__, f'{kind}/{name}.make has no docstring'
    assert not module.make.__defaults__, f'{kind}/{name}: positional defaults'
