"""A log that cannot be changed without a trace: rows chained by their hashes.

The hash of a row stands for it and for everything before it. Whoever has kept
one, the head, can tell later whether the log still goes through it. A row is
canonical JSON, and enters the chain by its own digest, so that rows that are
nobody's business can be passed on as digests alone.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

START = bytes(32)  # what the first row goes on from


def body(facts: Mapping[str, Any]) -> str:
  """A row as it is stored and hashed."""
  return json.dumps(
    facts, sort_keys=True, separators=(',', ':'), allow_nan=False
  )


def digest(text: str) -> bytes:
  """Of a row alone."""
  return hashlib.sha256(b'row' + text.encode()).digest()


def link(before: bytes, of_row: bytes) -> bytes:
  """The head after a row, from the head before it and the row's digest."""
  return hashlib.sha256(b'link' + before + of_row).digest()


def broken(rows: Iterable[tuple[Any, Any]]) -> int | None:
  """Number, from 1, of the first row that does not go on from those before."""
  head = START
  for number, (text, claimed) in enumerate(rows, start=1):
    if isinstance(text, str):
      head = link(head, digest(text))
    if head != claimed or not isinstance(text, str):
      return number
  return None
