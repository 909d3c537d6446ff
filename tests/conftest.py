"""Strict settings for every test.

Rank promotion is an error: a missing axis broadcasts into a wrong number
without a word. (Strict dtype promotion is not possible: optax itself mixes
integers and floats.)
"""

import os

import jax
import pytest

import unlearn_jax  # noqa: F401  (pins the environment before jax starts)

jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory):
  """Binaries keep compiled programs; not beside those of the user."""
  os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))
