"""What importing costs, and what it must not bring along."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ('tensorflow', 'tensorflow_datasets', 'orbax', 'matplotlib', 'sklearn')
WORDS = (
  'unlearn_jax',
  'unlearn_jax.registry',
  'unlearn_jax.trees',
  'unlearn_jax.keys',
  'unlearn_jax.types',
  'unlearn_jax.devices',
  'unlearn_jax.checkpoints',
)


def _fresh(code, **env):
  """Runs `code` in a new interpreter; what it prints, as JSON."""
  result = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, **env},
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(result.stdout)


def test_words_and_tools_bring_nothing_heavy():
  names = ', '.join(WORDS)
  found = _fresh(
    f'import sys, json; import {names}; print(json.dumps(sorted(sys.modules)))'
  )
  assert not {name.split('.')[0] for name in found} & set(HEAVY)


def test_a_whole_fit_needs_no_tensorflow(tmp_path):
  """TensorFlow is made unimportable, and nothing notices."""
  code = f"""
import sys, json
for name in ('tensorflow', 'tensorflow_datasets'):
  sys.modules[name] = None
from unlearn_jax import experiment, fields
c = fields.fit_config()
c.rows, c.epochs = 64, 1
summary, _ = experiment.fit(c, {str(tmp_path)!r})
print(json.dumps(summary['steps']))
"""
  assert _fresh(code) == 1


@pytest.mark.parametrize(
  'given, expected',
  [
    ({}, ('4', True)),
    ({'NPROC': '2'}, ('2', True)),
    ({'XLA_FLAGS': '--xla_force_host_platform_device_count=8'}, ('8', True)),
    ({'JAX_NUM_CPU_DEVICES': '6'}, ('6', True)),
    (
      {'XLA_FLAGS': '--xla_cpu_enable_platform_dependent_math=true'},
      ('4', False),
    ),
  ],
)
def test_pins_are_set_before_jax_and_keep_what_the_user_set(given, expected):
  clean = {'NPROC': '', 'XLA_FLAGS': '', 'JAX_NUM_CPU_DEVICES': ''}
  names = [name for name in clean if name not in given]
  code = f"""
import os, json
for name in {names}: os.environ.pop(name, None)
import unlearn_jax
flags = os.environ['XLA_FLAGS']
print(json.dumps([
  os.environ['NPROC'],
  flags.count('platform_dependent_math') == 1
  and 'platform_dependent_math=false' in flags,
]))
"""
  assert tuple(_fresh(code, **{**clean, **given})) == expected


def test_importing_brings_no_compiler_up():
  names = ', '.join(WORDS)
  found = _fresh(
    'import sys, json; import unlearn_jax; print(json.dumps([*sys.modules]))'
  )
  assert not {name.split('.')[0] for name in found} & {'jax', 'jaxlib', 'numpy'}
  assert not _fresh(
    f'import json; import {names}; from jax._src import xla_bridge; '
    'print(json.dumps(xla_bridge.backends_are_initialized()))'
  )


@pytest.mark.parametrize(
  'first, late',
  [
    ('import unlearn_jax', False),
    ('import jax', False),
    ('import jax; jax.devices()', True),
    # A jax that cannot be asked.
    ('import sys, types; sys.modules["jax"] = types.ModuleType("jax")', True),
  ],
)
def test_pins_are_late_when_a_backend_is_up(first, late):
  code = f"""
import json
{first}
from unlearn_jax import pins
print(json.dumps(pins.LATE))
"""
  assert _fresh(code, JAX_PLATFORMS='cpu') == late
