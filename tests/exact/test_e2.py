"""E2 and E1, on random systems and random streams of requests.

The oracle is `plain_builder`: it trains on a list that never held what was
deleted. Every trial prints its seed through its name; a failing one is run
again by `pytest -k 'trial and [17]'`.
"""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import sizes
from tests.exact import plain_builder
from unlearn_jax import registry, trees
from unlearn_jax.exact import system as system_lib

SHAPE = (6, 6, 1)
CLASSES = 3
VIT = {
  'name': 'vit',
  'patch': 3,
  'width': 8,
  'depth': 3,
  'heads': 2,
  'mlp_dim': 8,
}
# Few ways to train, so that compilation is shared. (batch, slices) are fixed
# with them; shards, sequences, epochs, seeds, data and requests are random.
KINDS = {
  'linear': {
    'model': {'name': 'linear'},
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9},
    'batch_size': 8,
    'slices': 2,
  },
  'mlp': {
    'model': {'name': 'mlp', 'hidden': [8], 'dropout': 0.2},
    'optimizer': {'name': 'adamw', 'learning_rate': 0.01},
    'batch_size': 8,
    'slices': 3,
    'carry': True,
  },
  'cnn': {
    'model': {'name': 'cnn', 'widths': [4], 'hidden': 8},
    'optimizer': {'name': 'adam', 'learning_rate': 0.01},
    'augment': {'shift': 1, 'flip': True},
    'batch_size': 16,
    'slices': 4,
  },
  'per_stage': {
    'strategy': 's3t',
    'model': {'name': 'lora', 'blocks': 3, 'rank': 2, 'base': VIT},
    'optimizer': {'name': 'adamw', 'learning_rate': 0.01},
    'batch_size': 8,
    'slices': 3,
  },
  'additive': {
    'strategy': 's3t',
    'model': {
      'name': 'lora',
      'blocks': 2,
      'rank': 2,
      'base': VIT,
      'head': 'additive',
    },
    'optimizer': {'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9},
    'batch_size': 8,
    'slices': 2,
  },
}


@dataclasses.dataclass
class World:
  """The user's file, and what a fresh build of it should be."""

  path: str
  x: np.ndarray
  y: np.ndarray
  ids: np.ndarray
  owners: np.ndarray
  inside: np.ndarray  # in the file, and so known to nobody else when not
  used: np.ndarray  # admitted and not deleted

  def write(self):
    np.savez(
      self.path,
      x=self.x[self.inside],
      y=self.y[self.inside],
      id=self.ids[self.inside],
      owner=self.owners[self.inside],
    )

  def survivors(self):
    # Shuffled: the order of a list must not matter.
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(self.used))
    return [
      (
        self.ids[i].item(),
        self.owners[i].item(),
        self.x[i].astype(np.float32),
        np.int32(self.y[i]),
      )
      for i in chosen
    ]


def make_world(rng, path, *, strings=None):
  n = int(rng.integers(30, 64))
  strings = rng.random() < 0.3 if strings is None else strings
  ids = rng.choice(10**6, n, replace=False)
  owners = rng.integers(0, 2 * n, n) if rng.random() < 0.5 else ids
  if strings:
    ids = np.array([f'row-{i}' for i in ids])
    owners = np.array([f'person {i}' for i in owners])
  inside = np.arange(n) < n - 5  # the others come later
  world = World(
    path=str(path),
    x=rng.normal(size=(n, *SHAPE)).astype(np.float32),
    y=rng.integers(0, CLASSES, n).astype(np.int32),
    ids=ids,
    owners=owners,
    inside=inside,
    used=inside.copy(),
  )
  world.write()
  return world


def make_config(rng, kind, path):
  slices = KINDS[kind]['slices']
  return {
    'data': {'name': 'npz', 'file': str(path), 'num_classes': CLASSES},
    'strategy': 'sisa',
    'schedule': {'name': 'cosine', 'warmup': 0.1},
    'shards': int(rng.integers(1, 4)),
    'sequences': {'kind': 'cyclic', 'budget': int(rng.integers(1, slices + 1))},
    'placement': {'salt': f'salt {rng.integers(1000)}'},
    'epochs': int(rng.integers(1, 3)),
    'seed': int(rng.integers(10**6)),
    **KINDS[kind],
  }


def expected(world, system):
  """Parameters of every stage, by an independent build on the survivors."""
  data = registry.make('data', 'npz', file=world.path, num_classes=CLASSES)
  return plain_builder.build(
    {**system.recipe.to_json(), 'input_shape': SHAPE},
    world.survivors(),
    system.sequences,
    data.task,
  )


def check_e2(world, system):
  """Every stage keeps, bit for bit, what the plain build has."""
  names = system.names()
  plain = expected(world, system)
  assert {str(stage) for stage in names} == set(plain)
  for stage, name in names.items():
    kept = trees.flatten(system._store.load(name)['params'])
    own = {
      p: leaf
      for p, leaf in trees.flatten(plain[str(stage)]).items()
      if p in kept
    }
    assert trees.bit_diff(kept, own).equal, f'{stage}'
    keeps = system._program.keeps(stage.depth)
    assert set(kept) == set(filter(keeps, trees.flatten(plain[str(stage)])))


def check_e1(world, system):
  """Every shard answers with, bit for bit, a prefix of the plain build."""
  plain = expected(world, system)
  view = system._view
  for stage, params in zip(view.stages, view.params, strict=True):
    if stage is not None:
      assert trees.bit_diff(params, plain[str(stage)]).equal, f'{stage}'


def some(rng, mask, low=1, high=4):
  found = np.flatnonzero(mask)
  return rng.choice(found, min(len(found), int(rng.integers(low, high))), False)


def change(rng, world, system):
  """One random request; the world follows."""
  place = system._records
  kind = rng.choice(
    ['ids', 'ids', 'ids', 'owner', 'slice', 'shard', 'add', 'back', 'poison']
  )
  where = {i: p for p, i in enumerate(place.ids.tolist())}
  at = np.array([where.get(i, -1) for i in world.ids.tolist()])
  alive = world.used & (at >= 0)
  if not alive.any() and kind not in ('add', 'back'):
    return  # nothing is left to delete
  if kind in ('ids', 'poison'):
    chosen = some(rng, alive)
    system.delete(ids=world.ids[chosen].tolist())
  elif kind == 'owner':
    owner = world.owners[some(rng, alive, 1, 2)]
    chosen = np.flatnonzero(alive & np.isin(world.owners, owner))
    system.delete(owners=owner.tolist())
  elif kind in ('slice', 'shard'):
    chosen = alive & (place.shard[at] == rng.integers(system.recipe.shards))
    if kind == 'slice':
      chosen &= place.slice[at] == rng.integers(system.recipe.slices)
    chosen = np.flatnonzero(chosen)
    system.delete(ids=world.ids[chosen].tolist())
  elif kind == 'add':
    chosen = some(rng, ~world.inside)
    world.inside[chosen] = True
    world.write()
    assert system.add(world.ids[chosen].tolist()) == len(chosen)
    world.used[chosen] = True
    return
  else:
    chosen = some(rng, world.inside & ~world.used)
    world.x[chosen] = rng.normal(size=(len(chosen), *SHAPE))  # another record
    world.write()
    system.add(world.ids[chosen].tolist(), allow_reinsert=True)
    world.used[chosen] = True
    return
  world.used[chosen] = False
  if kind == 'poison':
    # What was deleted is never read again, whatever stands there now.
    world.x[chosen] = 1e30
    world.write()


def run_trial(seed, folder):
  rng = np.random.default_rng(seed)
  kind = list(KINDS)[seed % len(KINDS)]
  world = make_world(rng, folder / 'data.npz')
  config = make_config(rng, kind, world.path)
  system = system_lib.System.create(str(folder / 'system'), config)
  if rng.random() < 0.8:  # else everything happens before training
    system.train()
  for _ in range(int(rng.integers(1, 5))):
    change(rng, world, system)
    if rng.random() < 0.3:
      system.repair()
    if rng.random() < 0.3:
      system.close()
      system = system_lib.System.open(str(folder / 'system'))
  check_e1(world, system)
  system.repair()
  check_e2(world, system)
  check_e1(world, system)
  assert system.status()['missing'] == 0
  return system, world


@pytest.mark.parametrize('seed', range(60))
def test_trial(seed, tmp_path):
  run_trial(seed, tmp_path)[0].close()


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(60, 60 + sizes.share(1000)))
def test_more_trials(seed, tmp_path):
  run_trial(seed, tmp_path)[0].close()


_FRESH = """
import json, sys
from unlearn_jax.exact import system
s = system.System.create(sys.argv[1], json.loads(sys.argv[2]))
s.train()
print(s.digest())
"""


@pytest.mark.parametrize(
  'kind',
  [
    pytest.param(
      kind, marks=pytest.mark.slow if kind in ('cnn', 'additive') else ()
    )
    for kind in KINDS
  ],
)
def test_a_fresh_process_on_a_clean_file_gives_the_same_digest(kind, tmp_path):
  seed = list(KINDS).index(kind)
  system, world = run_trial(seed, tmp_path)
  # The file never held them: their rows are cut out, the others turned around.
  world.inside &= world.used
  for name in ('x', 'y', 'ids', 'owners', 'inside', 'used'):
    setattr(world, name, getattr(world, name)[::-1].copy())
  world.path = str(tmp_path / 'clean.npz')
  world.write()
  config = system.recipe.to_json()
  config['data']['file'] = world.path
  result = subprocess.run(
    [sys.executable, '-c', _FRESH, str(tmp_path / 'fresh'), json.dumps(config)],
    capture_output=True,
    text=True,
    env=os.environ,
    check=True,
  )
  assert result.stdout.split()[-1] == system.digest()
  clean = registry.make('data', 'npz', file=world.path, num_classes=CLASSES)
  assert system.audit('E2', clean).passed
  system.close()
