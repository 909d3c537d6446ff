"""Settings that decide bits and that XLA reads once, before jax starts.

Two of them matter on a CPU:

- XLA sizes its thread pool from `NPROC` (or from the machine when it is not
  set), and long contractions are split by the size of the pool. With `NPROC`
  fixed, a model keeps its bits over one, two or eight cores.
- Platform dependent math lets exp, tanh and the like differ between CPU
  models. Switching it off costs nothing measurable.

Values the user has set are kept. What is really in force stands in
`devices.fingerprint()`.
"""

import os
import re
import sys
from importlib import metadata

DEFAULT_NPROC = 4

# XLA aborts the process on a flag it does not know, so each flag carries the
# first jaxlib version it was seen to work with.
_XLA_FLAGS = (('--xla_cpu_enable_platform_dependent_math=false', (0, 10)),)


def _backend_is_up() -> bool:
  """Whether jax runs already, in which case the pins come too late."""
  if 'jax' not in sys.modules:
    return False
  # jax has no public way to ask that does not start what is asked about.
  bridge = sys.modules.get('jax._src.xla_bridge')
  ask = getattr(bridge, 'backends_are_initialized', None)
  return ask is None or bool(ask())


LATE = _backend_is_up()


def apply() -> None:
  """Pins what the user has not set."""
  nproc = max(DEFAULT_NPROC, _requested_host_devices())
  os.environ.setdefault('NPROC', str(nproc))
  flags = os.environ.get('XLA_FLAGS', '').split()
  names = {flag.split('=')[0] for flag in flags}
  version = _jaxlib_version()
  for flag, since in _XLA_FLAGS:
    if version >= since and flag.split('=')[0] not in names:
      flags.append(flag)
  os.environ['XLA_FLAGS'] = ' '.join(flags)


def _requested_host_devices() -> int:
  """Host devices asked for through the environment; 1 when none are."""
  found = re.search(
    r'--xla_force_host_platform_device_count=(\d+)',
    os.environ.get('XLA_FLAGS', ''),
  )
  asked = found.group(1) if found else os.environ.get('JAX_NUM_CPU_DEVICES', '')
  return int(asked) if asked.isdigit() else 1


def _jaxlib_version() -> tuple[int, int]:
  major, minor = metadata.version('jaxlib').split('.')[:2]
  return int(major), int(minor)
