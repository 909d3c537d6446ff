"""Removes what depends on deleted examples, and looks for what is left of it.

A stage whose name is not derivable any more depends on somebody who left. Its
files go; then the journal of the ledger, which still has their rows, is
emptied; only then requests are said to be erased. A kill on the way leaves
something for the next time, and no claim.
"""

import pathlib
import re
import time
from collections.abc import Iterable

from absl import logging

from unlearn_jax import devices, errors
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import store as store_lib

_TRIES, _PAUSE = 50, 0.1  # for readers to let go of the journal
# All that a system keeps in its work directory, by name.
_KNOWN = re.compile(
  r'system\.json|ledger\.sqlite(-wal|-shm)?|canary\.json|history\.jsonl'
  r'|(change|repair)-\d+\.lock|stages|certificates'
  # What binaries leave: numbers, and stages by their text.
  r'|(train|delete|repair|erase|add|predict|audit|status|depths|certificate'
  r'|live|plan|report)\.(json|html)|report|\.[a-z]+\.jsonl?\.new'
)


def erase(
  books: books_lib.Books,
  store: store_lib.Store,
  derivable: Iterable[str],
  *,
  retention: float = 0.0,
) -> list[int]:
  """Removes every stage that is not derivable; the requests erased by that.

  Collective, while nobody trains. Only what is repaired can be erased.

  Args:
    books: of the system.
    store: of the system.
    derivable: names that are.
    retention: seconds for which what a request has made stale is kept.
  """
  # Before the stages are listed: a later request has others.
  lacking = books.ledger.lacking('erased')
  since = devices.from_lead(time.time) - retention  # one clock for all
  open_ = [r for r in lacking if r.kind == 'delete']
  ready = [r.seq for r in open_ if r.repaired is not None]
  if retention:
    held = [r.seq for r in open_ if r.accepted > since]
    ready = [seq for seq in ready if seq not in held]
    derivable = {*derivable, *_gone(books, held)}
  stale = devices.from_lead(lambda: store.stale(derivable))
  if stale:
    books.ledger.note('erasing', {'stages': stale})
    devices.from_lead(lambda: _remove(books, store, stale))
  if not ready:
    return []
  for _ in range(_TRIES):
    if books.ledger.forget():
      books.mark(ready, 'erased')
      return ready
    time.sleep(_PAUSE)
  logging.warning(
    'the ledger is being read: %d request(s) are not erased yet', len(ready)
  )
  return []


def residue(
  workdir: pathlib.Path,
  books: books_lib.Books,
  store: store_lib.Store,
  derivable: Iterable[str],
) -> list[str]:
  """What in a work directory may still depend on a deleted example."""
  left = [
    f'stages/{name}: of examples that were deleted'
    for _, name, _ in store.stale(derivable)
  ]
  left += [f'stages/{name}: half made' for name in store.temporaries()]
  left += [
    f'{path.name}: not of this system'
    for path in sorted(workdir.iterdir())
    if not _KNOWN.fullmatch(path.name)
  ]
  left += [
    f'request {request.seq}: not erased'
    for request in books.ledger.lacking('erased')
    if request.kind == 'delete'
  ]
  try:
    if not books.ledger.forget():
      left.append('ledger.sqlite-wal: read by another process')
    books.ledger.check()
  except errors.LedgerError as error:
    left.append(str(error))
  return left


def _remove(books: books_lib.Books, store: store_lib.Store, stale) -> None:
  for _, name, _ in stale:
    # Who has taken over may have made it again, for an example that came back.
    books.ledger.held().check_writer()
    store.remove(name)


def _gone(books: books_lib.Books, requests: Iterable[int]) -> set[str]:
  """Names of the stages that requests have made stale."""
  wanted = set(requests)
  if not wanted:
    return set()
  first = min(books.ledger.row_of(seq) for seq in wanted)
  return {
    name
    for _, facts, _, _ in books.ledger.log(first)
    for _, name in facts.get('gone', ())
  }
