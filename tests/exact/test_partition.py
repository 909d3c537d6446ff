"""Where examples go: a function of their owner and of public facts alone."""

import json
import math

import numpy as np
import pytest

from tests.exact import plain_builder, test_system
from unlearn_jax import errors, registry
from unlearn_jax.exact import partition, simulation, theory
from unlearn_jax.exact import system as system_lib

make = test_system.make
SHAPE = {'shards': 3, 'slices': 4, 'salt': 'some'}
EDGES = [0.05, 0.1, 0.3]


def _owners(kind, n=400):
  owners = np.random.default_rng(n).integers(0, n // 3, n)
  return owners if kind == 'int' else np.array([f'person {i}' for i in owners])


def _prior(owners, seed=0, **change):
  rng = np.random.default_rng(seed)
  known = np.unique(owners)[::2].tolist()  # of the others nothing is known
  p = rng.choice([0.0, 0.05, 0.07, 0.1, 0.2, 0.3, 1.0], len(known)).tolist()
  probability = {str(name): x for name, x in zip(known, p, strict=True)}
  prior = {'probability': probability, 'otherwise': 0.1, 'edges': EDGES}
  return {**prior, **change}


def _priors(owners):
  return [None, _prior(owners)]


@pytest.mark.parametrize('kind', ['int', 'str'])
def test_all_rows_of_an_owner_land_together(kind):
  owners = _owners(kind)
  for prior in _priors(owners):
    shard, part = partition.place(owners, prior=prior, **SHAPE)
    for owner in np.unique(owners):
      theirs = owners == owner
      assert len(set(zip(shard[theirs], part[theirs], strict=True))) == 1
    assert set(shard) == set(range(3)) and set(part) == set(range(4))


@pytest.mark.parametrize('kind', ['int', 'str'])
def test_who_else_is_there_and_in_what_order_moves_nobody(kind):
  owners = _owners(kind)
  rng = np.random.default_rng(0)
  for prior in _priors(owners):
    places = np.stack(partition.place(owners, prior=prior, **SHAPE))
    for some in (np.arange(1), rng.permutation(400), rng.permutation(400)[:50]):
      found = partition.place(owners[some], prior=prior, **SHAPE)
      np.testing.assert_array_equal(np.stack(found), places[:, some])
    assert partition.place(owners[:0], prior=prior, **SHAPE)[1].shape == (0,)


def test_what_is_said_of_one_owner_moves_no_other():
  owners = _owners('int')
  prior = _prior(owners)
  shard, part = partition.place(owners, prior=prior, **SHAPE)
  one = str(owners[part == 0][0])
  said = {**prior['probability'], one: 0.9, 'nobody here': 0.9}
  other = partition.place(owners, prior={**prior, 'probability': said}, **SHAPE)
  np.testing.assert_array_equal(other[0], shard)
  moved = other[1] != part
  assert set(owners[moved]) == {int(one)}
  assert (other[1][moved] == 3).all()


@pytest.mark.parametrize('kind', ['int', 'str'])
def test_places_are_those_of_another_implementation(kind):
  owners = _owners(kind, 100)
  hashes = [plain_builder.hash_id(o, 'some/place') for o in owners.tolist()]
  shard, part = partition.place(owners, **SHAPE)
  assert shard.tolist() == [h % 3 for h in hashes]
  assert part.tolist() == [h // 3 % 4 for h in hashes]
  prior = _prior(owners)
  shard, part = partition.place(owners, prior=prior, **SHAPE)
  p = [prior['probability'].get(str(o), 0.1) for o in owners.tolist()]
  assert shard.tolist() == [h % 3 for h in hashes]
  # Whoever stands on an edge belongs above it.
  assert part.tolist() == [sum(x >= edge for edge in EDGES) for x in p]


def test_places_are_even_and_another_salt_is_another_placement():
  n, cells = 60_000, 12
  found = []
  for salt in ('some', 'other'):
    shape = {**SHAPE, 'salt': salt}
    shard, part = partition.place(np.arange(n), **shape)
    counts = np.bincount(shard * 4 + part, minlength=cells)
    assert abs(counts - n / cells).max() < 5 * math.sqrt(n / cells)
    found.append(shard * 4 + part)
  same = (found[0] == found[1]).mean()
  assert abs(same - 1 / cells) < 5 / math.sqrt(n * cells)
  # Among those who share a slice of a prior, the shards are even as well.
  prior = {'probability': {}, 'otherwise': 0.2, 'edges': EDGES}
  shard, part = partition.place(np.arange(n), prior=prior, **SHAPE)
  assert set(part) == {2}
  assert abs(np.bincount(shard) - n / 3).max() < 5 * math.sqrt(n / 3)


def _risks(n=4000):
  """Skewed probabilities of n owners, and edges that cut them into quarters."""
  p = np.random.default_rng(0).lognormal(-6, 1.5, n).clip(0, 1)
  prior = {
    'probability': {str(i): x for i, x in enumerate(p.tolist())},
    'otherwise': 0.0,
    'edges': np.quantile(p, [0.25, 0.5, 0.75]).tolist(),
  }
  return p / p.sum(), prior


def test_a_known_prior_saves_training_and_keeps_more_of_a_shard():
  """Exact expectations over who asks next, not a simulation."""
  risk, prior = _risks()
  owners, chain = np.arange(len(risk)), [(0, 1, 2, 3)]
  stages = simulation.repair_size(
    chain, np.uint64(1) << np.arange(4, dtype='u8')
  )
  redone, length = [], []
  for known in (None, prior):
    _, part = partition.place(owners, prior=known, **SHAPE)
    assert np.bincount(part).min() > 0.2 * len(owners)
    mass = np.bincount(part, risk)
    redone.append(mass @ stages[0])
    length.append(theory.expected_length(chain, requests=3, prior=mass))
  # By hash each slice is as likely as another: (L + 1)/2 stages, and the
  # length that rotations of equal slices keep.
  assert redone[0] == pytest.approx(2.5, rel=0.1)
  assert length[0] == pytest.approx(0.5625, rel=0.25)
  assert redone[1] < 0.6 * redone[0]
  assert length[1] > 2 * length[0]


@pytest.mark.parametrize(
  'change, error, words',
  [
    (
      {'edges': [0.1, 0.2]},
      errors.ConfigError,
      '4 slices needs 3 rising edges',
    ),
    ({'edges': [0.1, 0.1, 0.2]}, errors.ConfigError, 'rising edges'),
    ({'edges': [0.2, 0.1, 0.3]}, errors.ConfigError, 'rising edges'),
    ({'otherwise': 1.5}, errors.ConfigError, r'in \[0, 1\], got \[1.5\]'),
    ({'probability': {'1': -0.1}}, errors.ConfigError, '-0.1'),
    ({'probability': {'1': math.nan}}, errors.ConfigError, 'nan'),
    ({'edge': EDGES}, errors.UnknownName, "'edge'.*edges"),
  ],
)
def test_a_wrong_prior_is_refused_by_name(change, error, words):
  prior = _prior(np.arange(9), **change)
  with pytest.raises(error, match=words):
    partition.place(np.arange(9), prior=prior, **SHAPE)
  for name in ('probability', 'otherwise', 'edges'):
    short = {k: v for k, v in _prior(np.arange(9)).items() if k != name}
    with pytest.raises(errors.ConfigError, match=f'a prior needs {name}'):
      partition.place(np.arange(9), prior=short, **SHAPE)


def test_a_system_with_a_prior_forgets_those_who_leave_cheaply(make, tmp_path):
  risky = [3, 4, 17]  # owners of two rows each
  prior = {
    'probability': {str(owner): 0.9 for owner in risky} | {'8': 0.3},
    'otherwise': 0.01,
    'edges': [0.2, 0.5],
  }
  chain = {'kind': 'cyclic', 'budget': 1}
  system, arrays = make(placement={'prior': prior}, sequences=chain, shards=2)
  assert json.loads(json.dumps(prior)) == system.recipe.placement['prior']
  where = system._records.of_owners(risky)
  assert (system._records.slice[where] == 2).all()
  shards = set(system._records.shard[where].tolist())
  gone = system.delete(owners=risky).gone
  assert set(gone) == {f'{shard}:0-1-2' for shard in shards}
  assert system.repair() == len(shards)
  left = ~np.isin(arrays['owner'], risky)
  clean = {name: values[left] for name, values in arrays.items()}
  np.savez(tmp_path / 'clean.npz', **clean)
  data = registry.make(
    'data', 'npz', file=tmp_path / 'clean.npz', num_classes=test_system.CLASSES
  )
  assert system.audit('E2', data).passed
  config = system.recipe.to_json()
  config['data']['file'] = str(tmp_path / 'clean.npz')
  fresh = system_lib.System.create(str(tmp_path / 'fresh'), config)
  fresh.train()
  assert fresh.digests() == system.digests()
  fresh.close()
