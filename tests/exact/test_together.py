"""Systems of several processes on one directory, and machines that change.

Two `System` objects on one directory know of each other only what is on disk,
as two processes do.
"""

import contextlib
import threading

import numpy as np
import pytest

from tests.exact import layouts
from unlearn_jax import devices, errors
from unlearn_jax.exact import canary
from unlearn_jax.exact import system as system_lib

LATE = [5 + 3 * row for row in range(20, 24)]
X = np.random.default_rng(0).normal(size=(4, *layouts.SHAPE))


@pytest.fixture
def pair(tmp_path):
  """A trained system, opened twice."""
  layouts.write(tmp_path / 'data.npz', n=24, without=LATE)
  config = layouts.config('mlp', tmp_path / 'data.npz')
  with contextlib.ExitStack() as stack:
    one = system_lib.System.create(str(tmp_path / 'system'), config)
    stack.callback(one.close)
    one.train()
    two = system_lib.System.open(str(tmp_path / 'system'))
    stack.callback(two.close)
    yield one, two


def _some(system, shard):
  records = system._records
  return records.ids[(records.shard == shard) & records.alive][:1].tolist()


def test_what_one_deletes_the_other_does_not_answer_with(pair):
  one, two = pair
  before = two.predict(X)
  receipt = one.delete(_some(one, 0))
  after = two.predict(X)
  assert (after != before).any() and (after == one.predict(X)).all()
  assert two.status()['served_depths'] == list(receipt.depths)
  assert two.delete(ids=_some(two, 0) + _some(one, 1)).deleted == 2
  assert one.status()['examples'] == 20 - 3


def test_a_repair_is_seen_by_all_and_done_once(pair):
  one, two = pair
  gone = one.delete(_some(one, 0)).gone
  assert two.repair() == len(gone)
  assert one.repair() == 0
  assert (one.predict(X) == two.predict(X)).all()
  assert one.status()['served_depths'] == two.status()['served_depths']
  assert all(request['repaired'] for request in one.status()['requests'])


def test_a_deletion_elsewhere_ends_a_running_repair(pair):
  one, two = pair
  first, second = _some(one, 0)[0], _some(one, 1)[0]
  one.delete([first])
  told = []

  def report(done, total):
    told.append(done)
    if len(told) == 1:
      two.delete([second])

  one.repair(report)
  again = told.index(min(told), 1)  # it was planned again
  assert told == sorted(told[:again]) + sorted(told[again:])
  assert one.audit('E2').passed and one.digest() == two.digest()
  assert one.status()['missing'] == 0


def test_only_one_repairs_at_a_time(pair):
  one, two = pair
  one.delete(_some(one, 0))
  waiting = threading.Thread(target=two.repair)
  seen = []

  def report(done, total):
    if not seen:
      waiting.start()
      waiting.join(0.5)
    seen.append(waiting.is_alive())
    # Meanwhile requests are answered, wherever they arrive.
    assert two.predict(X).shape == one.predict(X).shape

  trained = one.repair(report)
  waiting.join()
  assert all(seen) and trained == len(seen)
  assert two.status()['missing'] == 0


def test_what_one_adds_the_other_trains(pair):
  one, two = pair
  one.delete(_some(one, 1))
  layouts.write(one.workdir.parent / 'data.npz', n=24)
  assert one.add(LATE) == len(LATE)
  assert two.repair() > 0
  assert one.digest() == two.digest() and one.repair() == 0
  assert two.audit('E2').passed


def test_opening_leaves_the_half_saved_stage_of_a_running_repair(pair):
  one, _ = pair
  one.delete(_some(one, 0))
  half = one.workdir / 'stages' / ('.x.1.new-checkpoint')

  def report(done, total):
    half.mkdir(exist_ok=True)
    system_lib.System.open(str(one.workdir)).close()
    assert half.exists()

  one.repair(report)
  half.mkdir(exist_ok=True)
  one.repair()
  assert not half.exists()  # nobody else was at work: it was left by a kill


def test_a_machine_that_gives_other_bits_trains_nothing(pair, monkeypatch):
  one, two = pair
  assert one.delete(_some(one, 0)).gone
  before = one.status()
  monkeypatch.setattr(canary, 'digest', lambda *unused: 'other bits')
  with pytest.raises(errors.NotReproducible, match='other bits'):
    one.repair()
  assert one.status() == before
  monkeypatch.undo()
  assert two.repair() == before['missing']


def test_devices_that_disagree_train_nothing(pair, monkeypatch):
  one, _ = pair
  one.delete(_some(one, 0))
  places = iter('ab')
  monkeypatch.setattr(canary.places, 'local', lambda mesh: ['a', 'b'])
  monkeypatch.setattr(canary, 'digest', lambda *unused: next(places))
  with pytest.raises(errors.NotReproducible, match='2 different'):
    one.repair()


def _elsewhere(monkeypatch):
  """From here on this is another machine, as far as anyone can tell."""
  here = devices.fingerprint()
  monkeypatch.setattr(
    devices, 'fingerprint', lambda: {**here, 'cpu_model': 'another one'}
  )


def test_what_stands_on_another_machines_work_is_not_compared(
  pair, monkeypatch
):
  one, _ = pair
  part = one.sequences[0][-1]
  records = one._records
  last = (records.shard == 0) & (records.slice == part)
  _elsewhere(monkeypatch)
  one.delete(records.ids[last][:1].tolist())
  one.repair()
  found = one.audit('E2')
  # The end of the chain was made here, on parents that were not.
  assert found.different == () and len(found.incomparable) == len(
    one.wanted
  ) - (
    sum(
      s.shard == 0 and s.prefix[0] == part or s.prefix == (part,)
      for s in one.wanted
      if s.shard == 0
    )
  )


def test_a_rebuild_makes_everything_comparable_again(pair, monkeypatch):
  one, _ = pair
  before, answers = one.digest(), one.predict(X)
  _elsewhere(monkeypatch)
  assert not one.audit('E2').passed
  depths = []
  trained = one.rebuild(lambda *unused: depths.append(one._view.depths))
  assert trained == len(one.wanted)
  assert set(map(tuple, depths)) == {tuple(depths[0])}  # it went on serving
  assert one.audit('E2').passed
  assert one.digest() == before and (one.predict(X) == answers).all()
  assert one.rebuild() == 0
