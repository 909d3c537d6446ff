"""Four processes run the binaries as one; one is killed, none of its work lost.

Everything is as a user does it: the same command four times, with its number.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.exact import layouts

ROOT = pathlib.Path(__file__).parents[1]
SMALL = (
  f'--config={ROOT}/configs/sisa_digits.py',
  '--config.shards=4',
  '--config.slices=3',
  '--config.epochs=3',
)


def start(name, *flags):
  return subprocess.Popen(
    [sys.executable, str(ROOT / 'experiments' / f'{name}.py'), *flags],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  )


def run(name, *flags):
  child = start(name, *flags)
  out, err = child.communicate(timeout=300)
  assert child.returncode == 0, err
  return out


def together(name, processes, *flags):
  address = f'localhost:{layouts.free_port()}'
  return [
    start(name, *flags, f'--cluster={address},{processes},{number}')
    for number in range(processes)
  ]


def finished(children):
  """What each of them printed."""
  said = [child.communicate(timeout=300) for child in children]
  for child, (_, err) in zip(children, said, strict=True):
    assert child.returncode == 0, err
  return [out for out, _ in said]


def summary(folder, name):
  return json.loads((folder / f'{name}.json').read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 2])
def test_a_lost_process_is_made_up_for(victim, tmp_path):
  alone, many = tmp_path / 'alone', tmp_path / 'many'
  run('train', *SMALL, f'--workdir={alone}')
  children = together('train', 4, *SMALL, f'--workdir={many}')
  try:
    deadline = time.monotonic() + 240
    stages = many / 'stages'
    while not stages.exists() or len(list(stages.glob('[0-9a-f]*'))) < 2:
      assert time.monotonic() < deadline, 'no stage was ever stored'
      time.sleep(0.02)
    children[victim].send_signal(signal.SIGKILL)
    # The others cannot go on without it, and do not wait for ever.
    codes = [child.wait(timeout=240) for child in children]
  finally:
    for child in children:
      child.kill()
      child.communicate()
  assert codes[victim] == -signal.SIGKILL
  kept = {path.name for path in stages.glob('[0-9a-f]*')}
  assert 2 <= len(kept) < 12, 'it was over before it was killed'
  # The same command, on the three hosts that are left.
  said = finished(together('train', 3, *SMALL, f'--workdir={many}'))
  # Gloo talks too; but only the lead has a summary.
  assert ['summary' in out for out in said] == [True, False, False]
  again = summary(many, 'train')
  assert again['trained'] <= 12 - len(kept)
  assert again['digest'] == summary(alone, 'train')['digest']
  assert kept <= {path.name for path in stages.iterdir()}
  # One host takes a request; two repair; anybody checks it.
  run('delete', f'--workdir={many}', '--ids=1,2,3')
  head = summary(many, 'delete')['head']
  finished(together('repair', 2, f'--workdir={many}'))
  assert summary(many, 'repair')['erased'] == 1
  run('audit', f'--workdir={many}', '--level=E3')
  out = run('verify', str(many / 'certificates/2.json'), f'--head={head}')
  assert out.endswith('verified\n')


@pytest.mark.parametrize(
  'told, said',
  [
    ('localhost:1,4', 'host:port,processes,number'),
    ('auto', 'no launcher'),
  ],
)
def test_a_cluster_that_is_none_is_one_line(told, said, tmp_path):
  child = start('status', f'--workdir={tmp_path}', f'--cluster={told}')
  _, err = child.communicate(timeout=120)
  assert child.returncode == 1
  assert said in err and 'Traceback' not in err


def test_an_address_is_no_work_directory():
  child = start('status', '--workdir=gs://bucket/s')
  _, err = child.communicate(timeout=120)
  assert child.returncode == 1 and 'mount the bucket' in err
