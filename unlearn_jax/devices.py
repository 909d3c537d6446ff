"""Devices: meshes, simulated hosts, clusters, and what this machine is.

Nothing here wakes the backend at import time: `simulate` and `join_cluster`
have to come before anything that does.
"""

import hashlib
import math
import os
import pathlib
import pickle
import platform
import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from unlearn_jax import errors, pins

# Read from the environment by XLA, cuDNN or libtpu, and able to move a bit.
_ENVIRONMENT = (
  'NPROC',
  'XLA_FLAGS',
  'LIBTPU_INIT_ARGS',
  'NVIDIA_TF32_OVERRIDE',
  'TF_CUDNN_DETERMINISTIC',
)
# Settings of jax with the same power.
_CONFIG = (
  'jax_enable_x64',
  'jax_default_matmul_precision',
  'jax_default_prng_impl',
  'jax_threefry_partitionable',
  'jax_random_seed_offset',
  'jax_disable_jit',
)
_LAUNCHER_COUNTS = ('SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')


def make_mesh(
  axes: Mapping[str, int], *, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """A mesh with these axes, such as {'data': 4, 'model': 2}.

  Args:
    axes: size of each axis by name, the slowest first.
    devices: what to build on, all by default; the first ones are taken when
      there are more than the axes need.
  """
  devices = jax.devices() if devices is None else devices
  wrong = {name: size for name, size in axes.items() if size < 1}
  if wrong or not axes:
    raise errors.ConfigError(f'mesh axes are positive sizes, got {dict(axes)}')
  needed = math.prod(axes.values())
  if needed > len(devices):
    raise errors.ConfigError(
      f'mesh {dict(axes)} needs {needed} devices, {len(devices)} available'
    )
  return jax.make_mesh(
    tuple(axes.values()),
    tuple(axes),
    axis_types=(jax.sharding.AxisType.Auto,) * len(axes),
    devices=devices[:needed],
  )


def local_meshes(axes: Mapping[str, int]) -> list[jax.sharding.Mesh]:
  """As many equal meshes as the devices of this process are enough for."""
  found, size = jax.local_devices(), math.prod(axes.values())
  begins = range(0, max(1, len(found) - size + 1), size)
  return [
    make_mesh(axes, devices=found[begin : begin + size]) for begin in begins
  ]


def simulate(count: int) -> None:
  """Makes this process see `count` CPU devices, and nothing else.

  Raises `ConfigError` when jax is already running with something else. NPROC
  is raised to `count`: XLA takes the larger of the two for its thread pool, so
  that a smaller one would not be what is in force.
  """
  if count < 1:
    raise errors.ConfigError(f'cannot simulate {count} devices')
  try:
    jax.config.update('jax_num_cpu_devices', count)
  except RuntimeError as error:
    have = f'{jax.device_count()} {jax.default_backend()} device(s)'
    if have == f'{count} cpu device(s)':
      return
    raise errors.ConfigError(
      f'cannot simulate {count} devices: jax is already running with {have}. '
      'Call simulate() before anything that uses jax.'
    ) from error
  jax.config.update('jax_platforms', 'cpu')
  os.environ['NPROC'] = str(max(count, int(os.environ.get('NPROC', 1))))


def use_all_cores() -> None:
  """Makes a CPU device of each core, so that stages are trained side by side.

  Not above NPROC, which it must not move: with that fixed, no bit of a stage
  depends on how many devices there are. Who has asked for a number gets it.
  """
  asked = 'host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
  if asked or jax.config.jax_num_cpu_devices > 0:
    return
  count = min(usable_cores(), int(os.environ.get('NPROC', 1)))
  jax.config.update('jax_num_cpu_devices', count)


def keep_compiled() -> pathlib.Path:
  """Keeps compiled programs for later processes; returns where.

  That is what JAX_COMPILATION_CACHE_DIR says, or else a folder of this machine
  and version in the user's cache: a program made for one processor need not
  run on another. Nothing of any example is in a program.
  """
  folder = jax.config.jax_compilation_cache_dir
  if folder is None:
    home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    machine = f'{jax.__version__}/{jax.lib.__version__}/{cpu_model()}'
    name = hashlib.sha256(machine.encode()).hexdigest()[:16]
    folder = pathlib.Path(home) / 'unlearn_jax' / name
    jax.config.update('jax_compilation_cache_dir', str(folder))
    # A system is many small programs: keep them all.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
  return pathlib.Path(folder)


def join_cluster(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> bool:
  """Joins the processes of a cluster, once, before jax is used.

  Args:
    coordinator: 'host:port' of process 0. Give all three, or none: then the
      cluster is found from its launcher (TPU, Slurm, Open MPI).
    num_processes: how many processes there are.
    process_id: which one this is, from 0.

  Returns:
    Whether this process is part of a cluster.
  """
  given = {
    'coordinator': coordinator,
    'num_processes': num_processes,
    'process_id': process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if missing and len(missing) < len(given):
    raise errors.ConfigError(
      f'a cluster needs all of {", ".join(given)}, or none to detect it; '
      f'missing: {", ".join(missing)}'
    )
  if jax.distributed.is_initialized():
    return True
  if missing:
    return _join_detected()
  if not coordinator.rpartition(':')[2].isdigit():
    raise errors.ConfigError(f'coordinator is host:port, got {coordinator!r}')
  try:
    jax.distributed.initialize(coordinator, num_processes, process_id)
  except (ValueError, RuntimeError) as error:
    raise errors.ConfigError(f'cannot join {given}: {error}') from error
  return True


def is_lead() -> bool:
  """Whether this process is the one that writes what all share."""
  return jax.process_index() == 0


def share(value: Any, source: int = 0) -> Any:
  """The `value` of process `source`, in every process.

  Collective: all processes call it together, with the same `source`. What
  travels is bytes, and not the arrays in `value`: jax broadcasts by adding,
  and 0.0 + -0.0 is another word than -0.0. They are pickled, which is for
  processes of one program alone: nothing that was pickled is ever on a disk.
  """
  if jax.process_count() == 1:
    return value
  mine = jax.process_index() == source
  sent = pickle.dumps(value) if mine else b''
  size = int(_broadcast(np.uint32(len(sent)), mine))
  # Room in powers of two: each size is compiled once.
  room = np.zeros(max(1024, 1 << (size - 1).bit_length()), np.uint8)
  room[: len(sent)] = np.frombuffer(sent, np.uint8)
  return pickle.loads(_broadcast(room, mine)[:size].tobytes())


def from_lead(action: Callable[[], Any]) -> Any:
  """What `action` returns in the lead, in every process; its error too.

  Collective. Only the lead runs it.
  """
  if jax.process_count() == 1:
    return action()
  result = error = None
  if is_lead():
    try:
      result = action()
    except Exception as caught:
      error = caught
  result, error = share((result, error))
  if error is not None:
    raise error
  return result


class OfLead:
  """An object that the lead alone holds and every process may call.

  Making it and calling its methods is collective (see `from_lead`); closing it
  is not.
  """

  def __init__(self, make: Callable[[], Any]):
    self._held = None

    def hold():
      self._held = make()

    from_lead(hold)

  def __getattr__(self, method: str) -> Callable[..., Any]:
    def call(*args, **kwargs):
      return from_lead(lambda: getattr(self._held, method)(*args, **kwargs))

    return call

  def held(self) -> Any:
    """The object itself, for the lead alone, inside `from_lead`."""
    return self._held

  def close(self) -> None:
    if self._held is not None:
      self._held.close()


def fingerprint() -> dict[str, Any]:
  """What decides the bits of a result besides the program, as JSON holds it.

  Variables of the environment are as they stand now: XLA read them when jax
  started, which `pinned_before_jax` says was after our pins.
  """
  device = jax.local_devices()[0]  # Of a cluster, each tells its own.
  return {
    'jax': jax.__version__,
    'jaxlib': jax.lib.__version__,
    'platform': device.platform,
    'platform_version': device.client.platform_version,
    'device_kind': device.device_kind,
    'device_count': jax.device_count(),
    'process_count': jax.process_count(),
    'cores': usable_cores(),
    'cpu_model': cpu_model(),
    'machine': platform.machine(),
    'pinned_before_jax': not pins.LATE,
    **{name: os.environ.get(name) for name in _ENVIRONMENT},
    **{name: getattr(jax.config, name) for name in _CONFIG},
  }


def comparable(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
  """The part of a fingerprint that must agree before bits are compared.

  With NPROC fixed the number of cores and of devices was measured to move no
  bit of a model that is on one device, so these are left out.
  """
  if fingerprint['NPROC'] is None:
    return dict(fingerprint)
  harmless = ('cores', 'device_count', 'process_count', 'XLA_FLAGS')
  kept = {k: v for k, v in fingerprint.items() if k not in harmless}
  flags = (fingerprint['XLA_FLAGS'] or '').split()
  kept['XLA_FLAGS'] = sorted(
    flag for flag in flags if 'host_platform_device_count' not in flag
  )
  return kept


def describe() -> str:
  """The machine in one line, for logs."""
  seen = fingerprint()
  return (
    f'jax {seen["jax"]}, {seen["device_count"]} x {seen["device_kind"]} in '
    f'{seen["process_count"]} process(es), {seen["cores"]} cores of '
    f'{seen["cpu_model"]}, NPROC={seen["NPROC"]}'
  )


def usable_cores() -> int:
  """Cores this process may run on."""
  if hasattr(os, 'sched_getaffinity'):  # Not on macOS.
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def peak_memory() -> float:
  """The most bytes that this process has had at once so far, on its host."""
  status = pathlib.Path('/proc/self/status')
  if status.exists():  # The other number counts what its parent had, too.
    return 1024.0 * int(re.search(r'VmHWM:\s*(\d+)', status.read_text())[1])
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak * (1.0 if sys.platform == 'darwin' else 1024.0)


def cpu_model() -> str:
  """The name of the processor, or its architecture where none is given."""
  try:
    with open('/proc/cpuinfo') as file:
      for line in file:
        if line.startswith('model name'):
          return line.partition(':')[2].strip()
  except FileNotFoundError:  # No Linux.
    pass
  return platform.processor() or platform.machine()


def _broadcast(array: np.ndarray, mine: bool) -> np.ndarray:
  return np.asarray(multihost_utils.broadcast_one_to_all(array, is_source=mine))


def _join_detected() -> bool:
  try:
    jax.distributed.initialize()
  except ValueError as error:
    # How jax says that no launcher was found. It has no call to ask that.
    if 'coordinator_address should be defined' in str(error):
      return False
    raise errors.ConfigError(f'cannot join a cluster: {error}') from error
  except RuntimeError as error:
    # jax is running, too late to join. An error only if there is a cluster.
    if any(int(os.environ.get(name, 1)) > 1 for name in _LAUNCHER_COUNTS):
      raise errors.ConfigError(f'cannot join a cluster: {error}') from error
    return jax.process_count() > 1
  return True
