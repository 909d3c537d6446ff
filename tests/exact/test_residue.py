"""After an erasure nothing of a record is left in the work directory.

Each record carries 64 random bytes as its image, and has an id and an owner
that are found nowhere else. What is looked for are these bytes, as they are and
as the model reads them, the id, the owner, and what a digest without a key
would give away.
"""

import hashlib
import re

import numpy as np
import pytest

from unlearn_jax import operations
from unlearn_jax.exact import stages
from unlearn_jax.exact import system as system_lib

N = 12
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 1), np.uint8)
IDS = [f'id-{hashlib.sha256(bytes([n])).hexdigest()[:24]}' for n in range(N)]
OWNERS = [f'owner-{n // 2}-{IDS[n // 2][3:19]}' for n in range(N)]


def _config(path):
  return {
    'data': {'name': 'npz', 'file': str(path), 'num_classes': 2, 'std': 255.0},
    'model': {'name': 'linear'},
    'optimizer': {'name': 'adam', 'learning_rate': 0.1},
    'shards': 2,
    'slices': 2,
    'sequences': {'kind': 'cyclic', 'budget': 1},
    'batch_size': 4,
  }


@pytest.fixture
def system(tmp_path):
  labels = np.arange(N) % 2
  path = tmp_path / 'data.npz'
  np.savez(path, x=IMAGES, y=labels, id=IDS, owner=OWNERS)
  made = system_lib.System.create(str(tmp_path / 'system'), _config(path))
  made.train()
  yield made
  made.close()


def _traces(system, number):
  """What a record could be recognized by, as bytes."""
  data = system._books.data
  at = data.positions_of(np.array([IDS[number]]))
  content = bytes(data.content_digests(at)[0])
  x = np.float32(IMAGES[number])
  found = {
    'image': IMAGES[number].tobytes(),
    'as read': data.take(at).x.tobytes(),
    'as floats': x.tobytes(),
    'content': content,
    'id': IDS[number].encode(),
    'owner': OWNERS[number].encode(),
  }
  for what in ('content', 'id', 'owner'):
    digest = hashlib.sha256(found[what]).digest()
    found[f'{what} in hex'] = found[what].hex().encode()
    found[f'digest of {what}'] = digest
    found[f'digest of {what} in hex'] = digest.hex().encode()
  return found


def _found(system, traces):
  """(file, what) of every trace in the work directory, names included."""
  left = []
  for path in sorted(system.workdir.rglob('*')):
    content = str(path.relative_to(system.workdir)).encode()
    if path.is_file():
      content += path.read_bytes()
    left += [
      (path.name, what) for what, some in traces.items() if some in content
    ]
  return left


def test_what_is_looked_for_would_be_found(system):
  """The ledger holds ids, owners and contents of who is in use."""
  files = {what for _, what in _found(system, _traces(system, 0))}
  assert files == {'id', 'owner', 'content'}
  traces = _traces(system, 0)
  (system.workdir / 'image.bin').write_bytes(b'..' + traces['image'] + b'..')
  assert ('image.bin', 'image') in _found(system, traces)


def test_nothing_is_left_of_who_was_erased(system):
  gone = [0, 1, 4, 6, 7]  # all of two owners, one of two of another
  traces = {n: _traces(system, n) for n in gone}
  system.delete(ids=[IDS[0], IDS[1]], name=f'for {OWNERS[0]}')
  system.delete(ids=[IDS[4]])
  system.delete(owners=[OWNERS[6]])
  system.repair()
  traces[4].pop('owner')  # who has another record that is in use
  assert all(
    request['erased']
    for request in system.status()['requests']
    if request['kind'] == 'delete'
  )
  for closed in (False, True):
    if closed:
      system.close()
    for number in gone:
      assert _found(system, traces[number]) == []


def test_summaries_and_the_page_name_nobody(system):
  workdir, gone = str(system.workdir), [8, 9]
  traces = {n: _traces(system, n) for n in gone}
  operations.delete(workdir, ids=[IDS[8]], name='first', repair=True)
  operations.delete(workdir, owners=[OWNERS[9]])
  operations.repair(workdir)
  operations.erase(workdir)
  operations.status(workdir)
  assert operations.audit(workdir, level='E3')['passed']
  summaries = {path.name for path in system.workdir.glob('*.json')}
  assert {'delete.json', 'repair.json', 'status.json'} <= summaries
  for number in gone:
    assert _found(system, traces[number]) == []


def test_no_stage_on_the_disk_has_seen_who_was_erased(system):
  before = set(system.names().values())
  system.delete(ids=[IDS[2]])
  system.repair()
  wanted = {str(stage): name for stage, name in system.names().items()}
  folders = {path.name for path in (system.workdir / 'stages').iterdir()}
  assert folders == set(wanted.values()) != before
  roots = system._records.roots()
  for stage in system.wanted:
    facts = system._store.facts(wanted[str(stage)])
    assert facts['stage'] == str(stage)
    # The name follows from those who are alive, and from nobody else.
    derived = stages.name(system._shelf.recipe_digest, stage, roots)
    assert derived == facts['name'] == wanted[str(stage)]
    parent = stage.parent and wanted[str(stage.parent)]
    assert facts['parent'] == parent


def test_an_unemptied_journal_would_be_seen(system, monkeypatch):
  """What SQLite has not yet brought from its journal holds ids."""
  ledger = system._books.ledger.held()
  monkeypatch.setattr(type(ledger), 'forget', lambda self: True)
  traces = _traces(system, 3)
  system.delete(ids=[IDS[3]])
  system.repair()
  assert {what for name, what in _found(system, traces)} >= {'id', 'content'}
  assert all(re.search('ledger', n) for n, _ in _found(system, traces))
