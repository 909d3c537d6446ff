"""Strict settings for every test.

Rank promotion is an error: a missing axis broadcasts into a wrong number
without a word. (Strict dtype promotion is not possible: optax itself mixes
integers and floats.)
"""

import os
import pathlib

import jax
import pytest

import unlearn_jax  # noqa: F401  (pins the environment before jax starts)

jax.config.update('jax_numpy_rank_promotion', 'raise')

# What is computed counts here, not its last bits: compiled without most
# optimizations, which takes half the time. All else as users get it.
QUICKLY = ('attributors', 'pruners', 'study', 'unlearners')
QUICKLY_TOO = ('test_mutants.py', 'test_binaries.py')


@pytest.fixture(scope='module', autouse=True)
def quickly_compiled(request):
  path = pathlib.Path(request.path)
  quickly = path.parent.name in QUICKLY or path.name in QUICKLY_TOO
  with pytest.MonkeyPatch.context() as patch:
    if quickly:  # for what is run here, and for the binaries
      patch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
    jax.config.update('jax_disable_most_optimizations', quickly)
    yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
  """Binaries keep compiled programs; not beside those of the user."""
  os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))
