"""Certificates: honest ones hold, whatever was deleted; no other one does."""

import ast
import collections
import contextlib
import copy
import json
import shutil
import sys

import numpy as np
import pytest

from tests.exact import certificates, test_system
from unlearn_jax import errors
from unlearn_jax.exact import system as system_lib

verify = certificates.verify
SPOILED = 1000


def config(folder, **fields):
  """The smallest system that has several slices, shards and sequences."""
  return test_system._config(
    folder / 'data.npz',
    **{
      'model': {'name': 'linear'},
      'shards': 2,
      'slices': 2,
      'batch_size': 64,
      **fields,
    },
  )


@contextlib.contextmanager
def trained(folder, change=(), **fields):
  arrays = test_system._write(folder / 'data.npz', **dict(change))
  where = str(folder / 'system')
  system = system_lib.System.create(where, config(folder, **fields))
  with contextlib.closing(system):
    system.train()
    yield system, arrays


@pytest.fixture(scope='module')
def lived(tmp_path_factory):
  """A system with a past, and certificates of its requests."""
  with trained(tmp_path_factory.mktemp('lived')) as (system, arrays):
    ids = arrays['id'].tolist()
    asked = [
      system.delete(ids[:1]),
      system.delete(ids[4:9]),
      system.delete(owners=[10, 11]),
    ]
    system.repair()
    system.delete(ids[30:31])
    system.repair()
    yield system, [system.certificate(each.request) for each in asked]


def certified(system, request, *names):
  """An honest certificate is accepted, and what it says is so."""
  found = json.loads(json.dumps(system.certificate(request)))
  told = certificates.holds(found, system.head())
  assert told['request'] == request
  verify.check_files(found, str(system.workdir))
  for name in names:
    verify.check_id(found, name, str(system.workdir / 'system.json'))
  return found, told


def test_what_was_deleted_is_certified_and_nothing_else(lived):
  system, _ = lived
  for request, count, name in ((2, 1, '1'), (3, 5, '29'), (4, 4, '141')):
    found, told = certified(system, request, name)
    assert told['examples'] == count
    with pytest.raises(verify.Refused, match='64 is not among'):
      verify.check_id(found, '64', str(system.workdir / 'system.json'))
  with pytest.raises(errors.UnknownId, match='no request 9'):
    system.certificate(9)
  with pytest.raises(errors.UnknownId, match='added examples'):
    system.certificate(1)


def test_texts_are_certified_as_they_are(tmp_path):
  names = np.array([f'é {i}' for i in range(60)])
  with trained(tmp_path, {'id': names, 'owner': names}) as (system, _):
    request = system.delete(['é 3', 'é 44']).request
    owner = system.delete(owners=['é 5']).request
    system.repair()
    certified(system, request, 'é 3', 'é 44')
    certified(system, owner, 'é 5')


def test_requests_of_a_batch_have_certificates_of_their_own(tmp_path):
  with trained(tmp_path) as (system, arrays):
    ids = arrays['id'].tolist()
    some = [system_lib.books_lib.Asked(ids[i : i + 2]) for i in (0, 6, 9)]
    requests = [r.request for r in system.delete_many(some)]
    system.repair()
    for request, (one, two) in zip(
      requests, ((0, 1), (6, 7), (9, 10)), strict=True
    ):
      _, told = certified(system, request, str(ids[one]), str(ids[two]))
      assert told['examples'] == 2


def test_slices_may_become_odd_single_and_empty(tmp_path):
  with trained(tmp_path) as (system, _):
    records, left = system._records, []
    at = (records.shard == 0) & (records.slice == 1)
    ids = records.ids[at].tolist()
    for count in (3, 2, 1, 0):
      request = system.delete(ids[count:]).request
      ids = ids[:count]
      system.repair()
      found, _ = certified(system, request)
      proofs = found['deleted'][0]['absent']
      left.append(proofs[0][1]['count'])
    assert left == [3, 2, 1, 0]
    rest = system._records.ids[system._records.alive].tolist()
    request = system.delete(rest).request
    system.repair()
    certified(system, request, str(rest[0]))


def test_certificates_are_made_anew_after_rebuilds_and_deletions(
  lived, tmp_path, monkeypatch
):
  system, old = lived
  shutil.copytree(system.workdir, tmp_path / 'copy')
  here = system_lib.devices.fingerprint()
  monkeypatch.setattr(
    system_lib.devices, 'fingerprint', lambda: {**here, 'cpu_model': 'other'}
  )
  with contextlib.closing(
    system_lib.System.open(str(tmp_path / 'copy'))
  ) as again:
    assert again.rebuild() == len(again.wanted)
    certified(again, 2, '1')
    again.delete(again._records.ids[again._records.alive][:3].tolist())
    with pytest.raises(errors.CheckpointError, match='missing, repair first'):
      again.certificate(2)
    again.repair()
    found, _ = certified(again, 2, '1')
    # The head of those days is on the way; the one of now is not, there.
    assert certificates.holds(found, old[0]['head'])
    why = certificates.refused(old[0], again.head())
    assert 'kept is not passed' in why


def test_who_came_back_is_not_absent(tmp_path):
  with trained(tmp_path) as (system, arrays):
    victim = int(arrays['id'][3])
    first = system.delete([victim, int(arrays['id'][9])]).request
    with pytest.raises(errors.CheckpointError, match='repair first'):
      system.certificate(first)
    system.repair()
    before, _ = certified(system, first, str(victim))
    system.add([victim], allow_reinsert=True)
    system.repair()
    back = system.certificate(first)
    why = certificates.refused(back, system.head())
    assert 'an example has come back since' in why
    # An older one is no answer to the head of now, and cannot be stretched.
    assert 'not passed' in certificates.refused(before, system.head())
    hidden = {**back, 'deleted': before['deleted'], 'roots': before['roots']}
    hidden |= {'stages': before['stages']}
    shown = [row for row in back['rows'] if isinstance(row, str)]
    for row in shown[shown.index(before['rows'][-1]) + 1 :]:
      at, text = hidden['rows'].index(row), b'row' + row.encode()
      digest = certificates.hashlib.sha256(text).hexdigest()
      hidden['rows'] = [*hidden['rows']]
      hidden['rows'][at] = {'digest': digest}
    why = certificates.refused(certificates.sealed(hidden), system.head())
    assert why and 'is not shown' in why
    again = system.delete([victim]).request
    system.repair()
    certified(system, again, str(victim))
    certified(system, first, str(victim))


def test_a_certificate_of_what_was_changed_since_is_not_made(tmp_path):
  with trained(tmp_path) as (system, arrays):
    first = system.delete([int(arrays['id'][3])]).request
    system.repair()
    other = int(arrays['id'][9])
    system.delete([other])
    system.add([other], allow_reinsert=True)  # all stages are there, as before
    with pytest.raises(errors.WorkdirError, match='repair, then ask again'):
      system.certificate(first)
    system.repair()
    certified(system, first)


def test_no_spoiled_certificate_is_accepted(lived):
  _, honest = lived
  rng, kinds = certificates.generator(0), collections.Counter()
  for number in range(SPOILED):
    found = honest[number % len(honest)]
    kind, value = certificates.spoiled(rng, found)
    kinds[kind] += 1
    why = certificates.refused(value, found['head'])
    assert why, f'{kind} was accepted (spoiled certificate {number})'
  assert min(kinds.values()) > SPOILED / 20 and len(kinds) == 10


def test_parts_of_one_certificate_do_not_fit_into_another(lived):
  _, honest = lived
  one, two = honest[:2]
  for name in one:
    if one[name] != two[name] and name != 'seal':
      mixed = certificates.sealed({**one, name: two[name]})
      assert certificates.refused(mixed, one['head']), name
  # What Python takes for the same number is another text.
  request = float(one['request'])
  for other in ({'format': True}, {'format': 1.0}, {'request': request}):
    mixed = certificates.sealed({**one, **other})
    assert certificates.refused(mixed, one['head']), other
  # A neighbor cut one byte earlier would stand before whom it names.
  cut = copy.deepcopy(one)
  near = cut['deleted'][0]['absent'][0][0]['neighbors'][0]
  near['seal'] = near['token'][-2:] + near['seal']
  near['token'] = near['token'][:-2]
  why = certificates.refused(certificates.sealed(cut), one['head'])
  assert why and 'no digest' in why


def _some_file(folder):
  stages = sorted(path for path in folder.iterdir())
  inside = sorted(path for path in stages[1].rglob('*') if path.is_file())
  return stages[0], max(inside, key=lambda path: path.stat().st_size)


def _flip(folder):
  _, path = _some_file(folder)
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)


def _seal_of_another(folder):
  path = _some_file(folder)[0] / 'checkpoint.json'
  facts = json.loads(path.read_text())
  path.write_text(json.dumps({**facts, 'seal': 'ab' * 32}))


FILES = {
  'a bit': _flip,
  'cut': lambda folder: _some_file(folder)[1].write_bytes(b''),
  'gone': lambda folder: _some_file(folder)[1].unlink(),
  'stage gone': lambda folder: shutil.rmtree(_some_file(folder)[0]),
  'one more': lambda folder: (_some_file(folder)[0] / 'x').write_text('x'),
  'one more array': lambda folder: (
    _some_file(folder)[0] / 'arrays' / 'x'
  ).write_text('x'),
  'a link': lambda folder: (_some_file(folder)[0] / 'x').symlink_to('/'),
  'stage more': lambda folder: (folder / ('ab' * 32)).mkdir(),
  'a temporary': lambda folder: (folder / '.x.1.new-checkpoint').mkdir(),
  'seal': _seal_of_another,
  'swapped': lambda folder: _swapped(folder),
}


def _swapped(folder):
  one, two, *_ = sorted(folder.iterdir())
  one.rename(folder / 'x')
  two.rename(one)
  (folder / 'x').rename(two)


@pytest.mark.parametrize('change', FILES)
def test_other_files_than_the_log_fixed_are_refused(change, lived, tmp_path):
  system, (found, *_) = lived
  stages = tmp_path / 'stages'
  shutil.copytree(system.workdir / 'stages', stages)
  verify.check_files(found, str(tmp_path))
  FILES[change](stages)
  with pytest.raises((verify.Refused, OSError, ValueError)):
    verify.check_files(found, str(tmp_path))


def test_the_binary_says_what_it_found(lived, tmp_path, monkeypatch, capsys):
  system, (found, *_) = lived
  path = tmp_path / '2.json'
  path.write_text(json.dumps(found))

  def run(*flags):
    monkeypatch.setattr(sys, 'argv', ['verify.py', str(path), *flags])
    verify.main()
    return capsys.readouterr().out.splitlines()

  head, home = f'--head={found["head"]}', str(system.workdir)
  key = f'--system={home}/system.json'
  lines = run(head, f'--workdir={home}', '--id=1', key)
  assert lines[-1] == 'verified' and '1 is among the deleted' in lines[-2]
  assert run('--any_head')[-1] == 'consistent, but bound to no head'
  for flags in (
    [f'--head={"0" * 64}'],
    [head, '--id=8', key],
    [head, f'--workdir={tmp_path}'],
  ):
    with pytest.raises(SystemExit, match='REFUSED'):
      run(*flags)
  for flags in ([], [head, '--any_head'], [head, '--id=1']):
    with pytest.raises(SystemExit, match='2'):
      run(*flags)
  for text in ('', '[]', '{}', '{"seal": 1}', '[' * 10**5, '\x00'):
    path.write_text(text)
    with pytest.raises(SystemExit, match='REFUSED'):
      run(head)


def test_the_verifier_is_short_and_needs_nothing_but_python():
  text = certificates.PATH.read_text()
  assert len(text.splitlines()) <= 300
  names = set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names.add(node.module or '.')
  assert names and names <= sys.stdlib_module_names
