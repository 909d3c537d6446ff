"""Stages over two simulated devices against the same stages on one.

How many devices there are is decided when jax starts: this is for a process in
which it has not. Both placements run in it in turn, with the same thread pool.
"""

import pathlib

import jax
import numpy as np

from unlearn_jax import devices as devices_lib
from unlearn_jax import types
from unlearn_jax.exact import builder as builder_lib
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import stages
from unlearn_jax.study.speed import pairs

# Recipe, shape of an input, rows, and how much faster two devices should be.
_CASES = {
  'mlp': (
    {'model': {'name': 'mlp'}, 'shards': 8, 'slices': 1, 'epochs': 500},
    (64,),
    2048,
    '>= 1.6',
  ),
  'cnn': (
    {'model': {'name': 'cnn'}, 'shards': 4, 'slices': 1, 'epochs': 2},
    (28, 28, 1),
    2048,
    '>= 0.9',
  ),
}


def devices(folder: pathlib.Path, quick: bool) -> list[pairs.Row]:
  """How much faster two simulated devices train the stages of a system."""
  del folder
  devices_lib.simulate(2)
  found = []
  for name, (recipe, shape, rows, target) in _CASES.items():
    first, second = (
      _builder(recipe_lib.Recipe(data={}, **recipe), shape, rows, used)
      for used in (jax.local_devices()[:1], jax.local_devices())
    )
    first(), second()  # compiles
    times = pairs.measure(first, second, 5 if quick else 15)
    found.append(
      times.row(
        f'{name} stages: one device / two',
        'two simulated devices',
        target,
        rows=rows,
        NPROC=devices_lib.fingerprint()['NPROC'],
      )
    )
  return found


def _builder(recipe, shape, rows, used):
  """A call that trains every stage on the devices `used`."""
  data = random_images(rows, shape)
  records = records_lib.Records(
    recipe, bytes(32), data.ids, data.owners, data.content_digests()
  )
  largest = int(records.counts().sum(axis=1).max())
  wanted = stages.wanted(recipe.shards, recipe.make_sequences())
  builder = builder_lib.Builder(
    program_lib.Program(recipe, data),
    records,
    data,
    capacity=program_lib.capacity_for(largest),
    where=used,
  )

  def run():
    builder.build(wanted, lambda stage: None, lambda stage, state: None)

  return run


def random_images(rows: int, shape: tuple[int, ...]) -> types.Dataset:
  """Noise with labels: how long a step takes does not depend on it."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(rows, *shape)).astype(np.float32)
  ids = np.arange(rows)
  return types.Dataset(
    name='noise',
    task=types.Task('classification', 10),
    ids=ids,
    owners=ids,
    labels=rng.integers(0, 10, rows).astype(np.int32),
    read=lambda positions: x[positions],
    input_shape=shape,
    mean=np.zeros(()),
    std=np.ones(()),
  )
