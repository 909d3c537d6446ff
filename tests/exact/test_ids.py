"""A request that names what is not there is refused whole, whatever it says.

Nothing is coerced: an id that only looks like another one is another one.
"""

import contextlib
import math
import unicodedata

import numpy as np
import pytest

from tests.exact import test_system
from unlearn_jax import errors
from unlearn_jax.exact import system as system_lib

# Neighbours of these in the eyes of float, int32, str, Unicode and C.
KNOWN = {
  'int': np.array([0, 1, 8, 7, 2**31 - 1, 2**53, 2**62]),
  'str': np.array(['1', '8', '1.0', 'True', 'None', 'nan', 'row', 'é', 'a/b']),
}
HOSTILE = {
  'int': [
    *('', 'row', '8', '08', ' 8', '8\n', '\x00', '1' * 10**6),
    *(None, math.nan, math.inf, 8.5, 8.0, 2.0**53, b'8', 1j, object()),
    *(-1, -8, 9, 2**31, 2**31 + 8, 2**32, 2**32 + 8, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64, 2**64 + 8, -(2**63), 10**400),
  ],
  'str': [
    *('', 'nobody', '01', ' 1', '1 ', '1\n', '\x001', 'ROW', 'row\u200b'),
    *('\u202erow', unicodedata.normalize('NFD', 'é'), 'a/../a/b', 'x' * 10**6),
    *('\ud800', '１', None, math.nan, True, 1, 8, 1.0, -1, 2**63, b'row'),
  ],
}
# What NumPy makes equal to a known id when a good one stands beside it.
COERCED = {
  'int': [True, False, np.True_, 8.0, np.float32(8)],
  'str': [1, 8, True, 1.0, None, math.nan, b'1', b'row', '1\x00'],
}
NESTED = ([8], (8,), {8}, np.array([8]), ['1'], ('1',))


@contextlib.contextmanager
def system_of(kind, folder):
  n = len(KNOWN[kind])
  arrays = test_system._write(folder / 'data.npz', n=n)
  arrays |= {'id': KNOWN[kind], 'owner': KNOWN[kind]}
  np.savez(folder / 'data.npz', **arrays)
  config = test_system._config(folder / 'data.npz')
  made = system_lib.System.create(str(folder / 'system'), config)
  with contextlib.closing(made):
    yield made


def refuses(system, **request):
  before = test_system._state(system)
  with pytest.raises(errors.UnknownId):
    system.delete(**request)
  assert test_system._state(system) == before


@pytest.mark.parametrize('kind', KNOWN)
def test_hostile_ids_are_refused(kind, tmp_path):
  with system_of(kind, tmp_path) as system:
    for bad in HOSTILE[kind]:
      refuses(system, ids=[bad])
      refuses(system, owners=[bad])


@pytest.mark.parametrize('kind', KNOWN)
def test_a_hostile_id_refuses_the_good_ones_around_it(kind, tmp_path):
  first, second = KNOWN[kind][[2, 6]].tolist()
  with system_of(kind, tmp_path) as system:
    for bad in HOSTILE[kind]:
      if not any(bad is other for other in COERCED[kind]):
        refuses(system, ids=[first, bad, second])


@pytest.mark.parametrize('field', ['ids', 'owners'])
@pytest.mark.parametrize('kind', KNOWN)
def test_nothing_is_coerced_by_the_company_it_is_in(kind, field, tmp_path):
  first, second = KNOWN[kind][[2, 6]].tolist()
  with system_of(kind, tmp_path) as system:
    for bad in (*COERCED[kind], *NESTED):
      for some in ([bad], [first, bad], [bad, first], [first, bad, second]):
        refuses(system, **{field: some})
