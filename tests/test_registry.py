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


@pytest.fixture
def no_others(monkeypatch):
  monkeypatch.setattr(registry, '_REGISTERED', {})


def test_what_has_no_file_can_be_registered(no_others):
  registry.register(
    'unlearners', 'mine', lambda *, rate=1.0: ('first', rate), TUNED={'rate': 2}
  )
  assert 'mine' in registry.available('unlearners')
  assert {'finetune', 'ssd'} <= set(registry.available('unlearners'))
  assert 'mine' not in registry.available('metrics')
  assert registry.make('unlearners', 'mine', rate=3) == ('first', 3)
  assert registry.get('unlearners', 'mine').TUNED == {'rate': 2}
  with pytest.raises(errors.UnknownArgument, match="'rte'.*'rate'"):
    registry.make('unlearners', 'mine', rte=3)
  # The cell of a notebook, run again: nothing is left of what it was.
  registry.register('unlearners', 'mine', lambda: 'second')
  assert registry.make('unlearners', 'mine') == 'second'
  assert not hasattr(registry.get('unlearners', 'mine'), 'TUNED')


def test_what_cannot_be_registered_is_refused(no_others):
  def make():
    raise AssertionError('nothing is made of it')

  for kind, name, given, words in (
    ('unlearner', 'mine', make, "kind.*'unlearner'.*unlearners"),
    ('unlearners', 'ssd', make, "'ssd' is a file of unlearners"),
    ('unlearners', '_door', make, "not with _, got '_door'"),
    ('unlearners', 'my own', make, "got 'my own'"),
    ('unlearners', 'mine', 3, "make of 'mine' is a function, got 3"),
  ):
    before = [registry.available(each) for each in registry.kinds()]
    with pytest.raises(errors.UnlearnError, match=words):
      registry.register(kind, name, given)
    assert [registry.available(each) for each in registry.kinds()] == before


@pytest.mark.parametrize('kind', registry.kinds())
def test_every_component_is_made_by_keywords_only(kind):
  for name in registry.available(kind):
    module = registry.get(kind, name)
    assert module.__doc__, f'{kind}/{name} has no docstring'
    assert module.make.__doc__, f'{kind}/{name}.make has no docstring'
    assert not module.make.__defaults__, f'{kind}/{name}: positional defaults'
