"""A loss of power at any moment breaks no promise (see `power.py`)."""

import dataclasses
import itertools
import json
import pathlib
import random
import re
from typing import Any

import numpy as np
import pytest

from tests import sizes
from tests.exact import power, tiny
from unlearn_jax import checkpoints, errors, files
from unlearn_jax.exact import erasure, ledger, records, stages
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import system as system_lib

_STAGES = 'system/stages/'


def _rows(path, ids):
  """The same rows, whoever else is in the file."""
  ids = np.array(sorted(ids))
  x = np.stack([np.random.default_rng(i).normal(size=3) for i in ids])
  y = (x[:, 0] > 0).astype(np.int64)
  np.savez(path, x=x.astype(np.float32), y=y, id=ids)


def _config(path):
  return tiny.config(path, batch_size=8)


@dataclasses.dataclass
class Recorded:
  """A life of a system, step by step."""

  folder: pathlib.Path
  trace: list[power.Op]
  ledgers: list[bytes]
  facts: dict[str, Any]  # of the system
  twins: dict[frozenset, dict] = dataclasses.field(default_factory=dict)

  def twin(self, ids: frozenset) -> dict[str, str]:
    """Digests of a system that never held others than `ids`."""
    if ids not in self.twins:
      path = self.folder / f'twin {len(self.twins)}'
      path.mkdir()
      _rows(path / 'data.npz', ids)
      system = system_lib.System.create(
        str(path / 'system'), _config(path / 'data.npz')
      )
      system.train()
      self.twins[ids] = system.digests()
      system.close()
    return self.twins[ids]


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  return _record(tmp_path_factory.mktemp('power'))


def _record(folder, rounds=0):
  (folder / 'disk').mkdir()
  disk = power.Recorder(folder / 'disk')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files, 'disk', disk)
    _live(folder, disk, rounds)
  facts = json.loads((folder / 'disk' / 'system' / 'system.json').read_bytes())
  return Recorded(folder, disk.trace, disk.ledgers, facts)


def _live(folder, disk, rounds):
  """Creates, trains, deletes, repairs, erases, adds and takes over.

  And so many rounds of deleting and repairing more.
  """
  ids = list(range(1, 25))
  data, path = folder / 'data.npz', str(folder / 'disk' / 'system')
  _rows(data, ids)
  system = system_lib.System.create(path, _config(data))
  disk.promise(('created', system.head()))

  def delete(system, *ids, name=None):
    receipt = system.delete(ids=ids, name=name)
    assert receipt.deleted == len(ids)
    disk.promise(('deleted', frozenset(ids)))
    disk.promise(('head', receipt.head))

  system.train()
  delete(system, 1)
  delete(system, 2, 3, name='two')
  assert system.repair()
  _rows(data, [*ids, 25, 26])
  assert system.add([25, 26]) == 2
  disk.promise(('head', system.head()))
  told = []

  def in_between(done, _):
    told.append(done)
    if len(told) == 1:
      delete(system, 4)

  assert system.repair(in_between) and told
  delete(system, 5)
  other = system_lib.System.open(path, take_over=True)
  with pytest.raises(errors.FencedOut):
    system.delete(ids=[7])
  delete(other, 6)
  assert other.repair()
  for more in range(10, 10 + rounds):
    delete(other, more)
    assert other.repair()
  assert not other.status()['missing'] and not other.status()['stale']
  other.close()
  system.close()


@dataclasses.dataclass
class Known:
  """What follows from one commit of the ledger."""

  living: frozenset
  accepted: set[int]
  derivable: set[str]
  erased: set[int]
  repaired: bool


class Rules:
  """What must hold of every image after a loss of power."""

  def __init__(self, recorded: Recorded, folder: pathlib.Path):
    self._whole, self._system = _finished(recorded.trace)
    self.known = [None]
    for content in recorded.ledgers[1:]:
      path = folder / f'{len(self.known)}.sqlite'
      path.write_bytes(content)
      self.known.append(_known(path, recorded.facts))
    self._gone = self._stale()

  def broken(self, state: power.State) -> str | None:
    """The rule that an image breaks, in words."""
    found, known = state.image.files, self.known[state.image.ledger]
    system = found.get('system/system.json')
    if system is not None and system != self._system:
      return 'system.json is torn'
    if system is not None and known is None:
      return 'a system without its ledger'
    if system is None and state.promised:
      return 'the system is gone'
    for what, value in state.promised:
      if what == 'deleted' and known.living & value:
        return f'the deletion of {set(value)} is lost'
    there = _by_stage(found)
    for name, content in there.items():
      if name[0] != '.' and content != self._whole.get(name):
        return f'stage {name} counts as finished and is not whole'
    if known is None:
      return None
    for name, content in there.items():
      plain = name[1:].rsplit('.', 2)[0] if name[0] == '.' else name
      stale = plain in self._gone[state.image.ledger]
      if stale and any(part is not None for part in content.values()):
        return f'{name} is there and its request is erased'
    for name in known.derivable - set(there):
      if _STAGES + name in state.lasting:
        return f'stage {name} was durable and is gone'
      if known.repaired:
        return f'stage {name} is repaired and is not there'
    return None

  def _stale(self) -> list[set[str]]:
    """For each commit the names that nobody may find any more."""
    made_stale: dict[int, set[str]] = {}
    gone: list[set[str]] = [set()]
    for before, now in itertools.pairwise(self.known):
      for seq in now.accepted - (before.accepted if before else set()):
        old = before.derivable if before else set()
        made_stale[seq] = old - now.derivable
      stale = set().union(*(made_stale[seq] for seq in now.erased))
      gone.append(stale - now.derivable)
    return gone


def _finished(trace):
  """{stage: its content by path} when it was renamed; and system.json."""
  model, whole, system = power.Model(), {}, None
  for op in trace:
    model.play(op)
    if op.kind == 'rename' and op.path.endswith('.new-checkpoint'):
      seen = model.image(range(len(model.pending))).files
      name = op.what.removeprefix(_STAGES)
      whole[name] = _by_stage(seen)[name]
    elif op.kind == 'write' and op.path.endswith('.system.json.new'):
      system = op.what
  return whole, system


def _by_stage(found):
  there = {}
  for path, content in found.items():
    if path.startswith(_STAGES):
      name, _, rest = path.removeprefix(_STAGES).partition('/')
      there.setdefault(name, {})[rest] = content
  return there


def _known(path, facts):
  salt, recipe = bytes.fromhex(facts['salt']), facts['recipe']
  recipe = recipe_lib.Recipe.from_json(recipe)
  book = ledger.Ledger(path, salt)
  book.check()
  living = book.records()
  roots = records.Records(recipe, salt, *living).roots()
  digest = recipe.digest(recipe.open_data())
  requests = book.requests()
  deletions = [r for r in requests if r.kind == 'delete']
  known = Known(
    frozenset(living[0].tolist()),
    {r.seq for r in requests},
    {
      stages.name(digest, stage, roots)
      for stage in stages.wanted(recipe.shards, facts['sequences'])
    },
    {r.seq for r in deletions if r.erased},
    all(r.repaired for r in requests),
  )
  book.close()
  return known


@pytest.fixture(scope='module')
def rules(recorded, tmp_path_factory):
  return Rules(recorded, tmp_path_factory.mktemp('ledgers'))


def _look(trace, rules, **choice):
  """(distinct states, first broken rule) of the states of a trace."""
  seen = set()
  for state in power.states(trace, **choice):
    image = frozenset(state.image.files.items()), state.image.ledger
    key = hash((image, len(state.promised), state.lasting))
    if key in seen:
      continue
    seen.add(key)
    broken = rules.broken(state)
    if broken:
      return len(seen), f'after {state.at} steps: {broken}'
  return len(seen), None


def test_the_recorded_life_has_every_kind_of_moment(recorded, rules):
  kinds = {op.kind for op in recorded.trace}
  assert kinds == {
    'mkdir', 'write', 'sync', 'rename', 'unlink', 'rmdir', 'arrays', 'commit',
    'promise',
  }  # fmt: skip
  last = rules.known[-1]
  assert len(last.erased) == 5 and last.repaired
  assert any(known and not known.repaired for known in rules.known)


def test_no_promise_is_broken_in_a_sample_of_the_states(recorded, rules):
  count, broken = _look(recorded.trace, rules, every=13)
  print(f'{count} distinct states of {len(recorded.trace)} steps')
  assert broken is None
  assert count > 5000


@pytest.mark.slow
def test_no_promise_is_broken_in_any_state(tmp_path):
  recorded = _record(tmp_path, rounds=8)
  rules = Rules(recorded, tmp_path)
  every = max(1, 1000 // sizes.TRIALS)
  count, broken = _look(recorded.trace, rules, every=every, most=3)
  print(f'{count} distinct states of {len(recorded.trace)} steps')
  assert broken is None
  assert count > sizes.share(100_000)


# What a program may forget: which syncs are gone, and the rule that tells.
def _after_a_rename(op, before):
  return before[0].kind == 'rename'


def _of_a_new_stage(op, before):
  return '.new-checkpoint' in op.path


def _of_a_new_file(op, before):
  return op.path.endswith('.system.json.new')


def _after_a_removal(op, before):
  return before[0].kind == 'rmdir'


def _of_the_work_directory(op, before):
  return op.path == '.'


@pytest.mark.parametrize(
  'drop, words',
  [
    (_after_a_rename, 'the system is gone|is repaired and is not there'),
    (_of_a_new_stage, 'counts as finished and is not whole'),
    (_of_a_new_file, 'system.json is torn'),
    (_after_a_removal, 'is there and its request is erased'),
    (_of_the_work_directory, 'the system is gone'),
  ],
)
def test_a_sync_that_is_left_out_is_seen(recorded, rules, drop, words):
  trace = power.without(recorded.trace, drop)
  assert len(trace) < len(recorded.trace)
  _, broken = _look(trace, rules, most=1)
  assert re.search(words, broken or 'nothing')


def test_a_commit_that_is_not_durable_is_seen(recorded, rules):
  trace = [
    op._replace(what=(op.what[0], False)) if op.kind == 'commit' else op
    for op in recorded.trace
  ]
  _, broken = _look(trace, rules, most=1)
  assert re.search('its ledger|is lost', broken or 'nothing')


def test_a_stage_that_is_removed_file_by_file_is_seen(recorded, rules):
  """Without the rename that takes it away at once."""
  trace, aside = [], {}
  for op in recorded.trace:
    if op.kind == 'rename' and op.what.endswith('.gone-checkpoint'):
      aside[op.what] = op.path
      continue
    for new, old in aside.items():
      op = op._replace(path=op.path.replace(new, old))
    trace.append(op)
  _, broken = _look(trace, rules, most=1)
  assert 'counts as finished and is not whole' in broken


def test_a_folder_that_a_killed_process_left_is_durable(tmp_path):
  """It was killed between making it and syncing its name."""
  (tmp_path / 'disk').mkdir()
  disk = power.Recorder(tmp_path / 'disk')
  _rows(tmp_path / 'data.npz', range(1, 9))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files, 'disk', disk)
    disk.mkdir(tmp_path / 'disk' / 'system')
    system = system_lib.System.create(
      str(tmp_path / 'disk' / 'system'), _config(tmp_path / 'data.npz')
    )
    disk.promise(('created', system.head()))
    system.close()
  facts = json.loads((system.workdir / 'system.json').read_bytes())
  recorded = Recorded(tmp_path, disk.trace, disk.ledgers, facts)
  _, broken = _look(disk.trace, Rules(recorded, tmp_path), most=1)
  assert broken is None


def test_a_checkpoint_that_is_replaced_is_the_old_or_the_new(tmp_path):
  """Or stands aside, whole, from where a sweep brings it back."""
  disk = power.Recorder(tmp_path)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files, 'disk', disk)
    for number in range(2):
      tree = {'x': np.full(3, number)}
      checkpoints.save(tmp_path / 'system', tree, {}, overwrite=True)
      disk.promise(number)
  found = [state for state in power.states(disk.trace) if state.promised]
  whole = {}
  for state in found:  # the first of each is just saved
    there = _folders(state.image.files)
    whole.setdefault(len(state.promised), there.get('system'))
  for state in found:
    there = _folders(state.image.files)
    aside = [c for name, c in there.items() if name.endswith('.old-checkpoint')]
    if len(state.promised) == 2:
      assert there['system'] == whole[2]
    elif 'system' in there:
      assert there['system'] in (whole[1], whole[2])
    else:
      assert aside == [whole[1]]


def _folders(found):
  there = {}
  for path, content in found.items():
    name, _, rest = path.partition('/')
    there.setdefault(name, {})[rest] = content
  return there


def _check_for_real(recorded, state, folder):
  """Opens and repairs what a state leaves; compares it with a twin."""
  power.lay_out(state.image, recorded.ledgers, folder)
  path = folder / 'system'
  if not (path / 'system.json').exists():
    assert not state.promised
    if path.exists():
      with pytest.raises(errors.WorkdirError, match='no system'):
        system_lib.System.open(str(path))
    config = _config(recorded.folder / 'data.npz')
    system = system_lib.System.create(str(path), config)
  else:
    heads = [head for what, head in state.promised if what != 'deleted']
    system = system_lib.System.open(
      str(path), head=heads[-1] if heads else None
    )
  gone = set().union(*(v for what, v in state.promised if what == 'deleted'))
  if gone:
    again = system.delete(ids=sorted(gone))
    assert (again.deleted, again.already) == (0, len(gone))
  system.repair()
  living = frozenset(system._records.ids[system._records.alive].tolist())
  assert system.digests() == recorded.twin(living)
  left = erasure.residue(
    path, system._books, system._store, system.names().values()
  )
  assert left == []
  system.close()


def _check_some(recorded, folder, count, seed):
  """So many random states, each at a random moment, on a real disk."""
  rng, seen = random.Random(seed), 0
  found = list(power.states(recorded.trace, most=1, every=3))
  for state in rng.sample(found, count):
    seen += 1
    here = folder / str(seen)
    here.mkdir()
    _check_for_real(recorded, state, here)
  return seen


def test_a_creation_that_was_cut_short_begins_again(recorded, tmp_path):
  """Every image of the first steps is no system yet, or a whole one."""
  seen = set()
  for state in power.states(recorded.trace):
    if state.promised:
      break
    image = frozenset(state.image.files.items()), state.image.ledger
    if image in seen:
      continue
    seen.add(image)
    folder = tmp_path / str(len(seen))
    folder.mkdir()
    power.lay_out(state.image, recorded.ledgers, folder)
    path = str(folder / 'system')
    if (folder / 'system' / 'system.json').exists():
      system = system_lib.System.open(path)
    else:
      config = _config(recorded.folder / 'data.npz')
      system = system_lib.System.create(path, config)
    assert system.status()['examples'] in (24, 26)
    system.close()
  assert len(seen) >= 9


def test_real_systems_go_on_from_some_states(recorded, tmp_path):
  assert _check_some(recorded, tmp_path, 24, seed=0) == 24


@pytest.mark.slow
def test_real_systems_go_on_from_many_states(recorded, tmp_path):
  count = sizes.share(100)
  assert _check_some(recorded, tmp_path, count, seed=1) == count
