"""Which texts may be ids and owners: those that are told apart as they look.

Ids are compared by their bytes. Two that a person cannot tell apart would be
two people of whom one stays when the other asks to leave, so such texts are
refused when data are admitted, before anybody can be deleted by them.
"""

import reprlib
import unicodedata
from collections.abc import Callable

import numpy as np

from unlearn_jax import errors

_LONGEST = 256  # bytes of UTF-8
# By the kind of its characters, and why it is refused.
_KINDS = {'Cc': 'control', 'Cf': 'format', 'Cs': 'surrogate'}
_RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
  (
    f'holds a {", ".join(_KINDS.values())} character',
    lambda text: any(unicodedata.category(c) in _KINDS for c in text),
  ),
  ('begins or ends with a blank', lambda text: text != text.strip()),
  (
    'is not in the normal form NFC',
    lambda text: not unicodedata.is_normalized('NFC', text),
  ),
  (
    f'has more than {_LONGEST} bytes',
    lambda text: len(text.encode()) > _LONGEST,
  ),
)


def check(names: np.ndarray, what: str) -> None:
  """Refuses texts that could be taken for others; integers are as they are."""
  if names.dtype.kind != 'U':
    return
  for name in names.tolist():
    if name.isascii() and name.isprintable() and len(name) <= _LONGEST:
      if name[:1] != ' ' != name[-1:]:
        continue  # nearly all of them, and fast
    for why, breaks in _RULES:
      if breaks(name):
        raise errors.DataError(
          f'the {what} {reprlib.repr(name)} {why}; allowed are 1 to {_LONGEST} '
          'bytes in NFC, without outer blanks'
        )
