"""Several processes train what one trains, and a lost one loses no bit.

One model for every day, the others are slow.
"""

import shutil
import signal

import pytest

from tests.exact import layouts

KINDS = [
  kind if kind == 'mlp' else pytest.param(kind, marks=pytest.mark.slow)
  for kind in layouts.MODELS
]
# A life with every call that processes make together.
_LIFE = """
  port, me, folder, config = arguments
  joined = port != '0' and devices.join_cluster(f'localhost:{port}', 2, int(me))
  seen = watched()
  # Every word arrives as it is: a sum would turn -0.0 into 0.0.
  mine = {'leaf': np.float32([-0.0, np.nan, 1e-42]), 'empty': {}}
  shared = devices.share(mine if not joined or me == '1' else None, int(joined))
  assert shared['leaf'].tobytes() == mine['leaf'].tobytes()
  assert shared.keys() == mine.keys()
  s = systems().create(folder, json.loads(config))
  trained = s.train()
  before, stages = s.digests(), sorted({stage for stage, _ in seen})
  receipt = s.delete(ids=[5, 8])
  served = s.served()
  repaired = s.repair()
  x = np.ones((3, 8, 8, 1), np.float32)
  fact = dict(
    before=before, trained=trained, gone=receipt.gone, served=served,
    repaired=repaired, digest=s.digest(), again=s.repair(), after=s.served(),
    answer=trees.digest({'y': s.predict(x)}), names=sorted(s.names().values()),
    audit=[s.audit('E1').passed, s.audit('E2').equal],
    missing=s.status()['missing'], traces=s._program.engine.traces,
  )
  s.close()
  s = systems().open(folder)
  fact['reopened'] = s.digest() == fact['digest'] and s.repair() == 0
  try:
    systems().create(folder, json.loads(config))
  except Exception as error:
    fact['refused'] = type(error).__name__
  fact['unknown'] = []
  for ids in ([10**6], [5]):
    try:
      fact['unknown'].append(s.delete(ids=ids).already)
    except Exception as error:
      fact['unknown'].append(type(error).__name__)
  s.close()
  fact['joined'] = joined
  say(mine=stages, **fact)
"""


def _pair(code, *arguments, **options):
  port = str(layouts.free_port())
  return [
    layouts.start(code, port, str(me), *arguments, **options) for me in range(2)
  ]


@pytest.mark.parametrize('kind', KINDS)
def test_two_processes_make_what_one_makes(kind, tmp_path):
  layouts.write(tmp_path / 'data.npz')
  config = layouts.config(kind, tmp_path / 'data.npz')
  alone = layouts.run(_LIFE, '0', '0', str(tmp_path / 'one'), config)
  both = layouts.results(_pair(_LIFE, str(tmp_path / 'two'), config))
  assert [child.pop('joined') for child in both] == [True, True]
  assert not alone.pop('joined')
  # Each trained its own shards, no stage twice.
  lead, other = (child.pop('mine') for child in both)
  assert {stage[0] for stage in lead} == {'0', '2'}
  assert {stage[0] for stage in other} == {'1', '3'}
  assert sorted(lead + other) == alone.pop('mine')
  assert alone['audit'] == [True, 16] and alone['reopened']
  assert alone['refused'] == 'WorkdirError'
  assert alone['unknown'] == ['UnknownId', 1]
  names = {'one': alone.pop('names')}
  assert both[0].pop('names') == both[1].pop('names') != names['one']  # salts
  assert both[0] == both[1] == alone


_TRAIN = """
  port, me, folder, config, victim = arguments
  if port != '0':
    devices.join_cluster(f'localhost:{port}', 2, int(me))
  if config == 'open':
    s = systems().open(folder)
  else:
    s = systems().create(folder, json.loads(config))
  told = []
  def report(done, total):
    told.append(done)
    if me == victim and len(told) == 5:
      os.kill(os.getpid(), 9)
  trained = s.train(report)
  say(digests=s.digests(), trained=trained)
"""


@pytest.mark.slow
@pytest.mark.parametrize('victim', ['0', '1'])
def test_a_killed_process_loses_no_bit(victim, tmp_path):
  layouts.write(tmp_path / 'data.npz')
  config = layouts.config('mlp', tmp_path / 'data.npz')
  alone = layouts.run(_TRAIN, '0', '0', str(tmp_path / 'one'), config, 'none')
  (tmp_path / 'two').mkdir()
  broken = str(tmp_path / 'two' / 'system')
  children = _pair(_TRAIN, broken, config, victim)
  try:
    assert children[int(victim)].wait(timeout=120) == -signal.SIGKILL
    # The other one cannot go on, and does not wait for ever.
    assert children[1 - int(victim)].wait(timeout=180) != 0
  finally:
    for child in children:
      child.kill()
      child.communicate()
  # Two copies of what is left: one for one process, one for two.
  copy = str(tmp_path / 'copy')
  shutil.copytree(broken, copy)
  again = layouts.run(_TRAIN, '0', '0', broken, 'open', 'none')
  pair = layouts.results(_pair(_TRAIN, copy, 'open', 'none'))
  assert again == pair[0] == pair[1]
  assert again['digests'] == alone['digests']
  # What was finished is taken over.
  assert 0 < again['trained'] <= alone['trained'] - 4
