"""A deletion makes the stages that saw an example missing, and no other.

A thousand streams of requests over the books alone (records, names, stages)
against plain sets and formulas; then systems that train.
"""

import math

import numpy as np
import pytest

from tests.exact import plain_builder, test_system
from unlearn_jax.exact import (
  builder,
  recipe,
  records,
  sequences,
  simulation,
  stages,
  theory,
)
from unlearn_jax.exact import system as system_lib

make = test_system.make
STREAMS = 1000
KINDS = ('cyclic', 'every', 'matching', 'sampling', 'greedy', 'given')


class Books:
  """A system of random shape that trains nothing."""

  def __init__(self, rng, *, n=None, slices=None):
    self.shards = int(rng.integers(1, 5))
    self.slices = slices or int(rng.integers(1, 6))
    self.kind = KINDS[rng.integers(len(KINDS))]
    self.orders = _orders(rng, self.kind, self.slices)
    n = n or int(rng.integers(1, 40))
    ids = rng.choice(10**6, n, replace=False)
    owners = rng.integers(0, n, n) if rng.random() < 0.5 else ids
    if rng.random() < 0.3:
      ids = np.array([f'row-{i}' for i in ids])
    salt = f'salt {rng.integers(1000)}'
    self._recipe = recipe.Recipe(
      data={},
      model={},
      shards=self.shards,
      slices=self.slices,
      placement={'salt': salt},
    )
    contents = rng.integers(0, 256, (n, 32), np.uint8)
    self.records = self.new_records(ids, owners, contents)
    # Where everybody should be, by another implementation of the hash.
    hashes = [
      plain_builder.hash_id(o, f'{salt}/place') for o in owners.tolist()
    ]
    self.places = [
      (h % self.shards, h // self.shards % self.slices) for h in hashes
    ]

  def new_records(self, ids, owners, contents):
    return records.Records(self._recipe, b's' * 32, ids, owners, contents)

  def names(self, of=None):
    roots = (of or self.records).roots()
    wanted = stages.wanted(self.shards, self.orders)
    return {stage: stages.name(b'd' * 32, stage, roots) for stage in wanted}

  def delete(self, chosen):
    """Deletes records by id; returns the (shard, slice) that were hit."""
    living = self.records.alive.copy()
    at = self.records.find(self.records.ids[chosen])
    touched = self.records.set_alive(at, False)
    assert set(np.flatnonzero(living != self.records.alive)) == set(chosen)
    hit = {self.places[i] for i in chosen}
    assert touched == hit
    return hit

  def saw(self, hit):
    """The stages whose prefix holds a slice that was hit, each once."""
    return {
      (shard, order[:depth])
      for shard in range(self.shards)
      for order in self.orders
      for depth in range(1, self.slices + 1)
      if any((shard, part) in hit for part in order[:depth])
    }

  def how_many_saw(self, hit):
    """By formula."""
    total = 0
    for shard in range(self.shards):
      parts = {part for at, part in hit if at == shard}
      if self.kind == 'every':
        total += theory.trie_after_hits(slices=self.slices, hits=len(parts))
      elif self.kind == 'cyclic' and len(parts) == 1:
        # Slice u stands at u + b, modulo L, in rotation b.
        at = parts.pop() + np.arange(len(self.orders))
        total += (self.slices - at % self.slices).sum()
      else:
        bits = np.array([sum(1 << part for part in parts)], np.uint64)
        total += simulation.repair_size(self.orders, bits)[0].item()
    return total


def _orders(rng, kind, slices):
  """Sequences of a random budget; those of `every` share the most prefixes."""
  budget = math.factorial(slices)
  if kind == 'every':
    return sequences.make('cyclic', slices=slices, budget=budget)
  if kind in ('cyclic', 'matching'):
    budget = slices
  budget = int(rng.integers(1, min(budget, 12) + 1))
  given = {tuple(rng.permutation(slices).tolist()) for _ in range(budget)}
  return sequences.make(
    kind,
    slices=slices,
    budget=len(given) if kind == 'given' else budget,
    prior=rng.dirichlet(np.ones(slices)) * 0.9,
    horizon=5,
    given=sorted(given),
  )


def _request(rng, books):
  """Some of the living, or all of an owner, slice or shard; in no order."""
  living = np.flatnonzero(books.records.alive)
  one, place = rng.choice(living), np.array(books.places)
  owners = books.records.owners
  chosen = {
    'some': rng.choice(living, min(len(living), rng.integers(1, 5)), False),
    'owner': living[owners[living] == owners[one]],
    'slice': living[(place[living] == place[one]).all(axis=1)],
    'shard': living[place[living, 0] == place[one, 0]],
  }
  kind = rng.choice(['some', 'some', 'some', 'owner', 'slice', 'shard'])
  return rng.permutation(chosen[kind])


def stream(seed):
  rng = np.random.default_rng(seed)
  books = Books(rng)
  names, missing = books.names(), set()
  there = set(names.values())
  assert len(there) == len(names)
  for _ in range(int(rng.integers(1, 7))):
    if not books.records.alive.any():
      break
    hit = books.delete(_request(rng, books))
    saw, before, names = books.saw(hit), names, books.names()
    assert {s for s in names if names[s] != before[s]} == saw
    assert len(saw) == books.how_many_saw(hit)
    missing |= saw
    assert {s for s in names if names[s] not in there} == missing
    if rng.random() < 0.4:  # a repair, maybe one that is cut short
      share = rng.choice([0.5, 1])
      made = {stage for stage in missing if rng.random() < share}
      there |= {names[stage] for stage in made}
      missing -= made
  return rng, books, names


@pytest.mark.parametrize('first', range(0, STREAMS, 250))
def test_exactly_the_stages_that_saw_a_deletion_are_missing(first):
  for seed in range(first, first + 250):
    rng, books, names = stream(seed)
    # Nobody moved, and books that never knew the others say the same.
    kept = books.records
    places = zip(kept.shard.tolist(), kept.slice.tolist(), strict=True)
    assert list(places) == books.places
    left = rng.permutation(np.flatnonzero(kept.alive))
    fresh = books.new_records(
      kept.ids[left], kept.owners[left], kept.contents[left]
    )
    assert books.names(fresh) == names


@pytest.mark.parametrize('n, slices', [(1, 1), (2, 3), (103, 4), (101, 5)])
def test_every_single_example_is_in_the_names_of_its_stages(n, slices):
  """Also what remains when examples are not divisible by slices and shards."""
  rng = np.random.default_rng(n)
  books = Books(rng, n=n, slices=slices)
  before = books.names()
  for one in range(n):
    saw = books.saw(books.delete(np.array([one])))
    names = books.names()
    assert {s for s in names if names[s] != before[s]} == saw
    books.records.set_alive(np.array([one]), True)
  assert books.names() == before


def test_repair_trains_as_many_stages_as_the_formula_says(make, monkeypatch):
  """With every order of 3 slices: 15 stages, not 18, as prefixes are shared."""
  trained, begin = [], builder.Builder._begin

  def counted(self, stage, *args):
    trained.append(stage)
    return begin(self, stage, *args)

  monkeypatch.setattr(builder.Builder, '_begin', counted)
  system, _ = make(shards=2, sequences={'kind': 'cyclic', 'budget': 6})
  assert len(trained) == 2 * theory.trie_size(3)
  trained.clear()
  before = system.digests()
  ids = [
    i for part in (2, 0) for i in test_system._ids_in(system, 1, part, part + 1)
  ]
  gone = system.delete(ids=ids).gone
  expected = theory.trie_after_hits(slices=3, hits=2)
  assert system.repair() == len(trained) == len(set(trained)) == expected
  assert set(map(str, trained)) == set(gone)
  after = system.digests()
  assert {s for s in after if after[s] != before[s]} == set(gone)


def test_every_single_example_moves_the_parameters_of_its_stages(tmp_path):
  arrays = test_system._write(tmp_path / 'data.npz', n=11)
  config = test_system._config(
    tmp_path / 'data.npz',
    model={'name': 'linear'},
    shards=1,
    slices=2,
    sequences={'kind': 'cyclic', 'budget': 1},
  )
  system = system_lib.System.create(str(tmp_path / 'system'), config)
  system.train()
  for victim in arrays['id'].tolist():
    part = system._records.slice[system._records.find([victim])[0]]
    before = system.digests()
    system.delete(ids=[victim])
    system.repair()
    after = system.digests()
    moved = {stage for stage in after if after[stage] != before[stage]}
    assert moved == ({'0:0', '0:0-1'} if part == 0 else {'0:0-1'})
  system.close()
