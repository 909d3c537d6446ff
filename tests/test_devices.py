"""Meshes, simulated devices, clusters of real processes, fingerprints."""

import json
import os
import socket
import subprocess
import sys
import textwrap

import jax
import pytest

from unlearn_jax import devices, errors


def _start(code: str, *arguments, **environment) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-W', 'error', '-c', textwrap.dedent(code)]
    + [str(argument) for argument in arguments],
    env={**os.environ, **environment},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def _result(child: subprocess.Popen) -> dict:
  """What the child printed last; stderr, as Gloo talks on stdout."""
  _, err = child.communicate(timeout=60)
  assert child.returncode == 0, err
  return json.loads(err.splitlines()[-1])


def test_a_mesh_names_what_it_needs():
  mesh = devices.make_mesh({'data': 1, 'model': 1})
  assert mesh.shape == {'data': 1, 'model': 1}
  assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
  many = 2 * jax.device_count()
  with pytest.raises(
    errors.ConfigError, match=f'needs {many} devices, {many // 2} available'
  ):
    devices.make_mesh({'data': many})
  for axes in ({}, {'data': 0}, {'data': -1}):
    with pytest.raises(errors.ConfigError, match='positive'):
      devices.make_mesh(axes)


def test_eight_simulated_devices_compute_sharded():
  result = _result(
    _start("""
    import json, sys
    from unlearn_jax import devices, errors
    devices.simulate(8)
    devices.simulate(8)  # Again, before jax is up: the last one counts.
    import jax, numpy as np
    mesh = devices.make_mesh({'data': 4, 'model': 2})
    group = devices.make_mesh(
      {'data': 2, 'model': 2}, devices=jax.devices()[4:]
    )
    def product(mesh):
      place = lambda *axes: jax.NamedSharding(mesh, jax.P(*axes))
      x = np.arange(32, dtype=np.float32).reshape(8, 4)
      w = np.arange(24, dtype=np.float32).reshape(4, 6)
      y = jax.jit(lambda x, w: x @ w)(
        jax.device_put(x, place('data')), jax.device_put(w, place(None, 'model'))
      )
      assert (np.asarray(y) == x @ w).all()
      return sorted(d.id for d in y.sharding.device_set), str(y.sharding.spec)
    whole, part = product(mesh), product(group)
    devices.simulate(8)  # Also fine when that is what is running.
    try:
      devices.simulate(4)
    except errors.ConfigError as error:
      refused = str(error)
    seen = [whole, part, refused, devices.fingerprint()]
    print(json.dumps(seen), file=sys.stderr)
  """)
  )
  (ids, spec), (part, _), refused, seen = result
  assert ids == list(range(8)) and 'data' in spec and 'model' in spec
  assert part == [4, 5, 6, 7]
  assert 'simulate 4' in refused and '8 cpu' in refused
  assert seen['device_count'] == 8 and int(seen['NPROC']) == 8


def test_importing_does_not_wake_the_backend():
  # Simulating works only as long as nothing has.
  seen = _result(
    _start("""
    import json, sys
    from unlearn_jax import checkpoints, devices
    from unlearn_jax.study import progress, writer
    devices.simulate(2)
    print(json.dumps(devices.fingerprint()), file=sys.stderr)
  """)
  )
  assert seen['device_count'] == 2
  assert int(seen['NPROC']) >= 4  # Never lowered.


_MEMBER = """
  import json, sys
  from unlearn_jax import checkpoints, devices, errors
  port, me, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
  joined = devices.join_cluster(f'localhost:{port}', 2, me)
  again = devices.join_cluster(f'localhost:{port}', 2, me)
  import jax, numpy as np
  from jax.experimental import multihost_utils
  mesh = devices.make_mesh({'data': 2})
  rows = jax.make_array_from_process_local_data(
    jax.NamedSharding(mesh, jax.P('data')), np.float32([10.0 + me])
  )
  total = jax.jit(
    jax.shard_map(
      lambda x: jax.lax.psum(x, 'data'),
      mesh=mesh, in_specs=jax.P('data'), out_specs=jax.P(),
    )
  )(rows)
  gathered = multihost_utils.process_allgather(np.int32([me]))
  # The lead saves alone, the other would lose its data and is refused.
  refused = ''
  try:
    checkpoints.save(folder, {'x': np.ones(3)}, {'by': me})
  except errors.CheckpointError as error:
    refused = str(error)
  multihost_utils.sync_global_devices('saved')
  print(json.dumps({
    'joined': [joined, again], 'lead': devices.is_lead(),
    'processes': devices.fingerprint()['process_count'],
    'total': float(total.addressable_data(0)[0]),
    'gathered': np.asarray(gathered).ravel().tolist(),
    'loaded': checkpoints.load(folder)[1], 'refused': refused,
  }), file=sys.stderr)
"""


def test_two_processes_join_and_agree(tmp_path):
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    port = probe.getsockname()[1]
  members = [
    _start(_MEMBER, port, me, tmp_path / 'a', JAX_PLATFORMS='cpu')
    for me in range(2)
  ]
  try:
    results = [_result(member) for member in members]
  finally:
    for member in members:
      member.kill()
      member.wait()
  assert [result.pop('lead') for result in results] == [True, False]
  refusals = [result.pop('refused') for result in results]
  assert refusals[0] == '' and 'only the lead saves' in refusals[1]
  for result in results:
    assert result == {
      'joined': [True, True],
      'processes': 2,
      'total': 21.0,
      'gathered': [0, 1],
      'loaded': {'by': 0},
    }


def test_no_cluster_is_no_error():
  code = """
    import sys
    from unlearn_jax import devices
    assert devices.join_cluster() is False  # Before jax is running ..
    assert devices.is_lead()
    assert devices.join_cluster() is False  # .. and after.
    print('{}', file=sys.stderr)
  """
  assert _result(_start(code)) == {}


def test_half_a_cluster_is_an_error(monkeypatch):
  with pytest.raises(errors.ConfigError, match='missing: num_processes'):
    devices.join_cluster('localhost:1', process_id=0)
  with pytest.raises(errors.ConfigError, match='host:port'):
    devices.join_cluster('localhost', 2, 0)
  jax.devices()  # From here on it is too late to join.
  with pytest.raises(errors.ConfigError, match='cannot join'):
    devices.join_cluster('localhost:1', 2, 0)
  monkeypatch.setenv('SLURM_NTASKS', '4')
  with pytest.raises(errors.ConfigError, match='cannot join'):
    devices.join_cluster()


def test_a_coordinator_alone_in_the_environment_is_an_error():
  code = """
    import sys
    from unlearn_jax import devices, errors
    try:
      devices.join_cluster()
    except errors.ConfigError as error:
      assert 'Number of processes' in str(error), error
      print('{}', file=sys.stderr)
  """
  child = _start(code, JAX_COORDINATOR_ADDRESS='localhost:1')
  assert _result(child) == {}


def test_the_fingerprint_moves_with_what_moves_bits(monkeypatch):
  before = devices.fingerprint()
  assert json.loads(json.dumps(before)) == before
  assert before['jax'] == jax.__version__ and before['platform'] == 'cpu'
  assert before['cores'] == len(os.sched_getaffinity(0))
  assert before['cpu_model'] and before['NPROC']
  monkeypatch.setenv('NPROC', '3')
  monkeypatch.setenv('XLA_FLAGS', '--of-another-run')
  with jax.default_matmul_precision('float32'), jax.enable_x64(True):
    after = devices.fingerprint()
  changed = {name for name in before if before[name] != after[name]}
  assert changed == {
    'NPROC',
    'XLA_FLAGS',
    'jax_default_matmul_precision',
    'jax_enable_x64',
  }


def test_describe_is_one_line():
  line = devices.describe()
  assert '\n' not in line and jax.__version__ in line and 'NPROC=' in line
