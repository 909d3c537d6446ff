"""Real processes: killed at any moment, in any system call, or stopped.

What `test_faults.py` takes for one step, a commit of SQLite or of Orbax, is
here many; and nothing is simulated.
"""

import os
import re
import shutil
import signal
import time

import numpy as np
import pytest

from tests import sizes
from tests.exact import layouts, lives
from unlearn_jax.exact import system as system_lib

VICTIMS = list(range(1, lives.EARLY, 2))  # of both shards and all slices
_BUSY = """
  s = systems().open(arguments[0])
  print('opened', flush=True)
  for i in json.loads(arguments[1]):
    s.delete(ids=[i], name=f'of {i}')
    print(i, flush=True)
    s.repair()
    print('repaired', flush=True)
"""


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  return lives.Base(tmp_path_factory.mktemp('base'))


def _check(base, folder, told):
  """All that was told is so, at most one request more; and all is finished."""
  system = system_lib.System.open(str(folder))
  acknowledged = [int(line) for line in told if line.isdigit()]
  gone = set(range(1, lives.EARLY + 1)) - lives.living(system)
  asked = VICTIMS[: len(acknowledged) + 1]
  assert gone in (set(acknowledged), set(asked))
  lives.check_claims(system)
  names = {*system._view.names} - {None}
  assert names <= {*system.names().values()}
  for number, victim in enumerate(asked, start=2):
    receipt = system.delete(ids=[victim], name=f'of {victim}')
    assert (receipt.request, receipt.deleted) == (number, 1)
  system.repair()
  lives.check_whole(base, system)
  system.close()


def _kill(base, folder, rng):
  child = layouts.start(_BUSY, str(base.copy(folder)), VICTIMS)
  told = []
  try:
    for _ in range(int(rng.integers(1, 12))):
      told.append(child.stdout.readline().strip())
    time.sleep(rng.random() * 0.1)
    child.send_signal(signal.SIGKILL)
    told += child.communicate(timeout=60)[0].split()
  finally:
    child.kill()
    child.wait()
  assert child.returncode == -signal.SIGKILL and told[0] == 'opened'
  _check(base, folder, told)


@pytest.mark.parametrize('seed', range(2))
def test_a_killed_process_leaves_what_a_new_one_finishes(seed, base, tmp_path):
  _kill(base, tmp_path / 'system', np.random.default_rng(seed))


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(2, 2 + sizes.share(20)))
def test_many_more_are_killed(seed, base, tmp_path):
  _kill(base, tmp_path / 'system', np.random.default_rng(seed))


# A system call, and at which of its calls in one thread. Those of starting
# Python and jax count too, but these are none that they make, or few.
KILLS = [
  ('fdatasync', 1),  # SQLite: the commit of the deletion
  ('fdatasync', 3),
  ('fsync', 4),  # Orbax, in some thread of its own
  ('fsync', 9),
  ('pwrite64', 3),  # in the middle of a transaction
  ('pwrite64', 8),
  ('rename', 2),
  ('unlink', 3),
  ('ftruncate', 1),
]


def _traced(folder, log, *options):
  code = '\n'.join((layouts._HEAD, _BUSY))
  return layouts.start(
    """
  import subprocess
  log, code, *options = json.loads(arguments[0])
  died = subprocess.run(
    ['strace', '-f', '-y', '-o', log, *options, sys.executable, '-c', code]
    + arguments[1:],
    stdout=subprocess.PIPE, text=True,
  )
  say(told=died.stdout.split(), code=died.returncode)
""",
    [str(log), _dedent(code), *options],
    str(folder),
    VICTIMS[:2],
  )


def _dedent(code):
  return '\n'.join(line.removeprefix('  ') for line in code.splitlines())


needs_strace = pytest.mark.skipif(
  not shutil.which('strace'), reason='strace is not installed'
)


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize('call, at', KILLS)
def test_a_kill_inside_of_sqlite_or_orbax(call, at, base, tmp_path):
  folder = base.copy(tmp_path / 'system')
  inject = f'inject={call}:signal=SIGKILL:when={at}'
  child = _traced(folder, tmp_path / 'log', '-e', f'trace={call}', '-e', inject)
  found = layouts.result(child)
  assert found['code'] == -signal.SIGKILL, f'there were fewer {call}'
  # Not before the system was open: that would be a kill of nothing.
  assert str(folder) in (tmp_path / 'log').read_text()
  _check(base, folder, found['told'])


@pytest.mark.slow
@needs_strace
def test_what_is_told_was_synced_before(base, tmp_path):
  """By the system itself: the journal of SQLite, between commit and answer."""
  log = tmp_path / 'log'
  calls = 'trace=write,pwrite64,fsync,fdatasync'
  child = _traced(base.copy(tmp_path / 'system'), log, '-e', calls)
  assert layouts.result(child)['code'] == 0
  synced = told = 0
  for line in log.read_text().splitlines():
    journal = '/system/ledger.sqlite-wal>' in line
    if ' pwrite64(' in line and journal:
      synced = False
    elif journal and 'sync(' in line:
      synced = True
    # Python may write the end of a line apart.
    elif re.search(r' write\(1<[^>]*>, "\d+(\\n)?", ', line):
      assert synced
      told += 1
  assert told == 2


_STOPPED = """
  import signal
  from unlearn_jax import files

  class Stopping(files.Disk):
    def mkdir(self, path):
      if str(path).endswith('.new-checkpoint'):  # of a stage to be saved
        os.kill(os.getpid(), signal.SIGSTOP)
      super().mkdir(path)

  s = systems().open(arguments[0])
  s.delete(ids=[3], name='first')
  files.disk, told = Stopping(), []
  for change in (s.repair, lambda: s.delete(ids=[9]), s.erase):
    try:
      change()
      told.append('done')
    except Exception as error:
      told.append(type(error).__name__)
  say(told=told)
"""


def test_who_was_stopped_and_wakes_after_a_take_over(base, tmp_path):
  folder = base.copy(tmp_path / 'system')
  child = layouts.start(_STOPPED, str(folder))
  try:
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), child.communicate()
    system = system_lib.System.open(str(folder), take_over=True)
    system.delete(ids=[5])
    system.repair()
    head, listed = system.head(), sorted(folder.rglob('stages/*'))
    child.send_signal(signal.SIGCONT)
    told = layouts.result(child)['told']
  finally:
    child.kill()
  assert told == ['FencedOut'] * 3
  assert system.head() == head
  assert sorted(folder.rglob('stages/*')) == listed
  lives.check_whole(base, system)
  system.close()
