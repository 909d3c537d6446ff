"""Long streams of requests: the books are real, and end where a fresh build does.

Singly, by owner, in groups of 64 and of 1,024, and back again. After every so
many requests the system is repaired and compared, stage by stage, with one
that was built from a file of the survivors and never saw anybody else.
"""

import collections
import contextlib
import os
import pathlib

import numpy as np
import pytest

from tests import sizes
from tests.exact import tiny
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import system as system_lib

IDS = 4096
REQUESTS = int(os.environ.get('UNLEARN_JAX_STREAM', sizes.share(100_000)))
# What comes next, how often, and how many requests at once.
KINDS = {'one': 60, 'owner': 10, 'few': 20, 'many': 5, 'back': 5}
GROUPS = {'few': 64, 'many': 1024}


class Stream:
  """Random requests to a system, and the set of who should be left."""

  def __init__(self, system, seed):
    self._rng, self._system = np.random.default_rng(seed), system
    self.alive, self.requests = np.ones(IDS, bool), 0
    self.kinds, self.seconds = collections.Counter(), []

  def step(self):
    names, weights = zip(*KINDS.items(), strict=True)
    p = np.array(weights) / sum(weights)
    kind = str(self._rng.choice(names, p=p))
    if self.alive.sum() < GROUPS['many'] + 64:
      kind = 'back'
    getattr(self, f'_{kind}')(kind)
    self.kinds[kind] += 1

  def _some(self, mask, count):
    return self._rng.choice(np.flatnonzero(mask), count, replace=False)

  def _done(self, ids, requests):
    self.alive[ids] = False
    self.requests += requests

  def _one(self, kind):
    (one,) = self._some(self.alive, 1).tolist()
    receipt = self._system.delete([one], name=f'request {self.requests}')
    assert (receipt.deleted, receipt.already) == (1, 0)
    self.seconds.append(receipt.seconds)
    self._done([one], 1)

  def _owner(self, kind):
    (one,) = self._some(self.alive, 1).tolist()
    both = np.array([one // 2 * 2, one // 2 * 2 + 1])
    receipt = self._system.delete(owners=[one // 2])
    assert receipt.deleted == self.alive[both].sum()
    self._done(both, 1)

  def _few(self, kind):
    chosen = self._some(self.alive, GROUPS[kind]).tolist()
    receipts = self._system.delete_many([books_lib.Asked([i]) for i in chosen])
    numbers = [receipt.request for receipt in receipts]
    assert numbers == list(range(numbers[0], numbers[0] + len(chosen)))
    assert {receipt.deleted for receipt in receipts} == {1}
    self._done(chosen, len(chosen))

  _many = _few

  def _back(self, kind):
    dead = np.flatnonzero(~self.alive)
    if len(dead):
      assert self._system.add(dead, allow_reinsert=True) == len(dead)
      self.alive[:] = True
      self.requests += 1


def fresh_digests(folder, recipe, alive):
  """Of a system that never saw who is not alive."""
  whole = np.load(folder / 'data.npz')
  path = folder / 'survivors.npz'
  np.savez(path, **{name: whole[name][alive] for name in whole.files})
  config = {**recipe, 'data': {**recipe['data'], 'file': str(path)}}
  where = folder / f'fresh {os.urandom(4).hex()}'
  with contextlib.closing(
    system_lib.System.create(str(where), config)
  ) as fresh:
    fresh.train()
    return fresh.digests()


def resident():
  """MiB that this process holds now."""
  pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def on_disk(folder):
  return sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())


def run(folder, requests, every, seed=0):
  """The stream, compared after `every` requests; (stream, usage) at the end."""
  owners = np.arange(IDS) // 2
  with tiny.system(folder, range(IDS), owners) as system:
    system.train()
    stream, usage = Stream(system, seed), []
    recipe = system.recipe.to_json()
    for goal in range(every, requests + 1, every):
      while stream.requests < goal:
        stream.step()
      system.repair()
      survivors = np.flatnonzero(stream.alive).tolist()
      records = system._records
      assert sorted(records.ids[records.alive].tolist()) == survivors
      assert system.digests() == fresh_digests(folder, recipe, stream.alive)
      status = system._books.ledger.lacking('repaired')
      assert status == [] and system.status()['stale'] == 0
      usage.append((stream.requests, resident(), on_disk(system.workdir)))
    head = system.head()
    asked = [r for r in system._books.requests() if r.seq > 1]
    assert len(asked) == stream.requests
    assert all(r.erased for r in asked if r.kind == 'delete')
  # All of it is found again.
  with contextlib.closing(
    system_lib.System.open(str(folder / 'system'), head=head)
  ) as again:
    assert again.status()['examples'] == stream.alive.sum()
    assert again.repair() == 0
  return stream, usage


def report(stream, usage):
  ms = 1000 * np.array(stream.seconds)
  p50, p99 = np.percentile(ms, [50, 99])
  print(
    f'\n{stream.requests} requests {dict(stream.kinds)}; singly '
    f'{p50:.1f} ms p50, {p99:.1f} ms p99'
  )
  for requests, mib, size in usage[:: max(1, len(usage) // 10)]:
    print(
      f'{requests:9} requests: {mib:7.0f} MiB, {size / 2**20:7.2f} MiB disk'
    )


def test_a_stream_ends_where_a_fresh_build_does(tmp_path):
  stream, usage = run(tmp_path, 2000, 1000)
  report(stream, usage)
  assert set(stream.kinds) == set(KINDS)


@pytest.mark.slow
def test_a_long_stream_costs_the_same_at_its_end(tmp_path):
  stream, usage = run(tmp_path, REQUESTS, 1000, seed=1)
  report(stream, usage)
  (first, mib, size), (last, mib_end, size_end) = (
    usage[len(usage) // 4],
    usage[-1],
  )
  assert mib_end - mib < 200 * (last - first) / 10**5 + 50  # rows it remembers
  assert (size_end - size) / (
    last - first
  ) < 1500  # bytes of the log, a request
