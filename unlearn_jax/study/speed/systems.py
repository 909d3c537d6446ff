"""What a system costs besides its fits: to keep books, to forget, to answer."""

import contextlib
import hashlib
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from unlearn_jax import checkpoints, files
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib
from unlearn_jax.exact import stages
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study.speed import pairs

# One row a slice or so is enough where only the books count.
_TINY = {
  'model': {'name': 'linear'},
  'shards': 5,
  'slices': 4,
  'sequences': {'kind': 'cyclic', 'budget': 4},
  'batch_size': 1024,
}


def bookkeeping(
  folder: pathlib.Path, quick: bool, recipe: Mapping[str, Any]
) -> list[pairs.Row]:
  """`System.train()` against the fits it consists of.

  Quick: one sequence of one shard with as many rows as each shard has. These
  stages take as long as the others, but the last save hides behind no fit.
  """
  config = _one_chain(recipe) if quick else dict(recipe)
  bare = Bare(config)
  bare.run()  # compiles; systems of this process share the programs
  made = []

  def train():
    made[-1].train()

  seconds = np.zeros((2, 3))
  for pair in range(3):
    system = system_lib.System.create(str(folder / f'books {pair}'), config)
    with contextlib.closing(system):
      made.append(system)
      one = pairs.measure(train, bare.run, 1)
    seconds[:, pair] = np.concatenate(one)
    shutil.rmtree(folder / f'books {pair}')
  return [
    pairs.Times(*seconds).row(
      'train() / sum of its fits',
      'the same fits alone',
      '<= 1.15',
      stages=len(bare.wanted),
      rows=len(bare.data),
      shards=config['shards'],
    )
  ]


class Bare:
  """The fits of a system, and nothing else."""

  def __init__(self, config: Mapping[str, Any]):
    self._recipe = recipe_lib.Recipe.from_json(config)
    self.data = self._recipe.open_data()
    self._program = program_lib.Program(self._recipe, self.data)
    shards = self._recipe.shards
    self.wanted = stages.wanted(shards, self._recipe.make_sequences())
    records = records_lib.Records(
      self._recipe,
      bytes(32),
      self.data.ids,
      self.data.owners,
      np.zeros((len(self.data), 32), np.uint8),
    )
    largest = int(records.counts().sum(axis=1).max())
    self._rows = [
      self._program.rows(
        self.data.take(chosen),
        records.slice[chosen],
        program_lib.capacity_for(largest),
        jax.local_devices()[0],
      )
      for chosen in map(records.survivors, range(shards))
    ]

  def run(self) -> dict[stages.Stage, program_lib.State]:
    """Trains them all, parents first; returns when that is done."""
    states, device = {}, jax.local_devices()[0]
    for stage in self.wanted:
      before = states.get(stage.parent) or self._program.start(stage.shard)
      states[stage] = self._program.fit(
        stage, before, self._rows[stage.shard], device
      )
    return jax.block_until_ready(states)


def non_use(folder: pathlib.Path, quick: bool, ids=60_000) -> list[pairs.Row]:
  """One request from the call to the acknowledgement, then many at once."""
  count, groups = (250, 5) if quick else (1000, 25)
  size = min(1024, ids // 50)
  with _tiny_system(folder, ids) as system, _bare_ledger(folder) as bare:
    some = np.random.default_rng(0).permutation(ids)
    some = some[: 1 + count + groups * size].tolist()
    system.delete([some.pop()])  # compiles, opens files
    first = folder / 'durable write'
    single = np.zeros((3, count))
    for i in range(count):
      single[0, i] = system.delete([some.pop()]).seconds
      single[1, i] = pairs.clock(lambda: files.replace(first, bytes(4096)))
      single[2, i] = pairs.clock(lambda: bare.note('bare', {}))
    many = np.zeros((2, groups))
    for i in range(groups):
      asked = [books_lib.Asked([some.pop()]) for _ in range(size)]
      many[0, i] = pairs.clock(lambda a=asked: system.delete_many(a)) / size
      many[1, i] = pairs.clock(lambda: bare.note('bare', {}))
  return [*_singly(single, ids), *_in_groups(many, ids, size)]


def _singly(seconds: np.ndarray, ids: int) -> list[pairs.Row]:
  """Of [a request, a durable write, a bare commit] each."""
  ms, named = 1000 * seconds[0], {'ids': ids, 'requests': seconds.shape[1]}
  return [
    pairs.spread(ms, 'ms', 'one request, p50', [25, 50, 75], details=named),
    pairs.spread(
      ms,
      'ms',
      'one request, p99 (p95, max)',
      [95, 99, 100],
      target='<= 50',
      details=named,
    ),
    pairs.Times(seconds[0], seconds[1]).row(
      'one request / durable write of 4 kB', 'write, sync, rename'
    ),
    pairs.Times(seconds[0], seconds[2]).row(
      'one request / bare commit', 'one row of a log in SQLite'
    ),
  ]


def _in_groups(seconds: np.ndarray, ids: int, size: int) -> list[pairs.Row]:
  """Of [a request of a group, a bare commit] each."""
  named = {'ids': ids, 'requests': size * seconds.shape[1]}
  return [
    pairs.spread(
      1 / seconds[0],
      '/s',
      f'accepted in groups of {size:,}',
      [25, 50, 75],
      target='>= 10000',
      details=named,
    ),
    pairs.Times(*seconds).row(
      'one request of a group / bare commit', 'one row of a log in SQLite'
    ),
  ]


@contextlib.contextmanager
def _bare_ledger(folder: pathlib.Path):
  """A ledger of nobody, whose rows cost what a commit costs."""
  path = folder / 'bare.sqlite'
  with contextlib.closing(
    ledger_lib.Ledger(path, bytes(32), create=True)
  ) as ledger:
    yield ledger
  path.unlink()


def planning(
  folder: pathlib.Path, quick: bool, batch: int = 1_000_000
) -> list[pairs.Row]:
  """Names after `batch` of twice as many ids left; all slices are touched."""
  del folder
  rng = np.random.default_rng(0)
  ids = np.arange(2 * batch)
  recipe = recipe_lib.Recipe(data={}, **_TINY)
  contents = rng.integers(0, 256, (len(ids), 32), np.uint8)
  records = records_lib.Records(recipe, bytes(32), ids, ids, contents)
  wanted = stages.wanted(recipe.shards, recipe.make_sequences())
  leaving = rng.permutation(ids)[:batch]
  text = contents[:batch].tobytes()

  def plan():
    records.set_alive(leaving, False)
    roots = records.roots()
    for stage in wanted:
      stages.name(bytes(32), stage, roots)

  def hash_once():
    for at in range(0, len(text), 32):
      hashlib.sha256(text[at : at + 32]).digest()

  def both():
    records.set_alive(leaving, True)
    return np.concatenate(pairs.measure(plan, hash_once, 1))

  times = pairs.Times(*np.transpose([both() for _ in range(3 if quick else 9)]))
  named = {'batch': batch, 'ids': len(ids)}
  what = f'names after {batch:,} of {len(ids):,} ids left'
  return [
    pairs.spread(
      times.first, 's', what, [25, 50, 75], target='<= 2', details=named
    ),
    times.row('the same / bare hashing', f'SHA-256 of {batch:,} digests'),
  ]


def predict(
  folder: pathlib.Path, quick: bool, recipe: Mapping[str, Any]
) -> list[pairs.Row]:
  """Answers after a deletion against answers before it."""
  config = _small(recipe, shards=2)
  with contextlib.ExitStack() as stack:
    before, after = (
      stack.enter_context(_trained(folder / name, config))
      for name in ('before', 'after')
    )
    data = before.recipe.open_data()
    x = data.take(np.arange(min(len(data), 512))).x
    depths = after.delete(data.ids[:1].tolist()).depths
    for system in (before, after):
      system.predict(x)
    times = pairs.measure(
      lambda: after.predict(x), lambda: before.predict(x), 15 if quick else 51
    )
    whole = list(before.status()['served_depths'])
  return [
    times.row(
      'predict after a deletion / before',
      'the same system, whole',
      '<= 1.05',
      rows=len(x),
      depths=list(depths),
      baseline_depths=whole,
    )
  ]


def storage(
  folder: pathlib.Path, quick: bool, recipe: Mapping[str, Any]
) -> list[pairs.Row]:
  """Bytes of the stages as they are kept against whole models, one a stage."""
  del quick  # bytes do not depend on rows
  config = _small(recipe, shards=1)
  with _trained(folder / 'small', config):
    kept = _bytes(folder / 'small' / 'stages')
  whole = Bare(config).run()
  for stage, state in whole.items():
    checkpoints.save(folder / 'whole' / str(stage), state.params, {})
  full = _bytes(folder / 'whole')
  shutil.rmtree(folder / 'whole')
  ratio = kept / full
  named = {'stages': len(whole), 'bytes': kept, 'baseline_bytes': full}
  return [
    pairs.Row(
      'bytes of the stages / of whole models',
      ratio,
      ratio,
      ratio,
      'x',
      'one full checkpoint a stage',
      details=named,
    )
  ]


def _one_chain(recipe: Mapping[str, Any]) -> dict[str, Any]:
  rows = recipe['data']['rows'] // recipe['shards']
  return {
    **recipe,
    'shards': 1,
    'sequences': {'kind': 'cyclic', 'budget': 1},
    'data': {**recipe['data'], 'rows': rows},
  }


def _small(recipe: Mapping[str, Any], shards: int) -> dict[str, Any]:
  data = {**recipe['data'], 'rows': min(512, recipe['data']['rows'])}
  return {**recipe, 'shards': shards, 'data': data, 'epochs': 1}


@contextlib.contextmanager
def _trained(folder: pathlib.Path, config: Mapping[str, Any]):
  """A trained system that leaves nothing behind."""
  system = system_lib.System.create(str(folder), config)
  with contextlib.closing(system):
    system.train()
    yield system
  shutil.rmtree(folder)


@contextlib.contextmanager
def _tiny_system(folder: pathlib.Path, ids: int):
  rng = np.random.default_rng(0)
  path = folder / 'tiny.npz'
  np.savez(
    path,
    x=rng.normal(size=(ids, 2)).astype(np.float32),
    y=rng.integers(0, 2, ids),
    id=np.arange(ids),
  )
  data = {'name': 'npz', 'file': str(path), 'num_classes': 2}
  with _trained(folder / 'tiny', {'data': data, **_TINY}) as system:
    yield system
  path.unlink()


def _bytes(folder: pathlib.Path) -> int:
  return sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
