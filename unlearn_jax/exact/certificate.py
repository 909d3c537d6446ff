"""What a stranger can check about a deletion, without trusting who did it.

A certificate holds the rows of the log that accepted the request and carried it
out, and the digests that link them to the head. The head is what binds: its
owner must have kept it elsewhere. From the roots in the last row the names of
all stages follow; that no survivor has the token of who left is proven against
these roots; and the same row fixes the digests of what was stored. So what is
served can be compared with files, and files with a replay. What the format
means in detail is what `experiments/verify.py` checks.
"""

from collections.abc import Sequence
from typing import Any

from unlearn_jax import errors, files
from unlearn_jax.exact import books as books_lib
from unlearn_jax.exact import chain
from unlearn_jax.exact import ledger as ledger_lib

FORMAT = 1
# Rows that are shown whole; of others only the digest is.
_SHOWN = ('erasing', 'taken over')


def make(
  request: int,
  books: books_lib.Books,
  recipe: bytes,
  made: Sequence[Sequence[str]],
) -> dict[str, Any]:
  """The certificate of an erased request.

  Args:
    request: its number.
    books: of the system.
    recipe: digest of the recipe.
    made: [stage, name, digest, seal] of every stage that there is now.
  """
  ledger = books.ledger
  first = ledger.row_of(request)
  rows = ledger.log(first)
  _check(request, rows, files.digest(made))
  about = {n for n, facts, _, _ in rows if _concerns(facts, request)}
  last = max(n for n, facts, _, _ in rows if 'made' in facts)
  before = ledger.log(first - 1)[0][3] if first > 1 else chain.START
  roots, tokens = books.records.roots(), ledger.tokens_of(request)
  found = {
    'format': FORMAT,
    'request': request,
    'recipe': recipe.hex(),
    # The log from the row that accepted it: rows that matter as text, others
    # as digests.
    'first': first,
    'before': before.hex(),
    'rows': [
      text
      if n in about or n == last or facts['event'] in _SHOWN
      else {'digest': chain.digest(text).hex()}
      for n, facts, text, _ in rows
    ],
    'head': rows[-1][3].hex(),
    'roots': [[root.hex() for root in of_shard] for of_shard in roots],
    'stages': [list(stage) for stage in made],
    'deleted': [_of(left, books) for left in tokens if left.shard is not None],
    'owners': [left.token.hex() for left in tokens if left.shard is None],
  }
  return {**found, 'seal': files.digest(found)}


def _of(left: ledger_lib.Left, books: books_lib.Books) -> dict[str, Any]:
  """What shows that an example is not in use; none where it came back."""
  token, shard, part, back = left
  absent = None if back else books.records.absence(shard, part, token)
  return {'token': token.hex(), 'shard': shard, 'slice': part, 'absent': absent}


def _concerns(facts, request: int) -> bool:
  if facts['event'] == 'accepted':
    return any(told[0] == request for told in facts['requests'])
  return request in facts.get('requests', ())


def _check(request: int, rows, made: str) -> None:
  """Refuses a request that is not erased, or stages that no row tells of."""
  if rows[0][1]['event'] != 'accepted':
    raise errors.UnknownId(
      f'request {request} added examples, or is older than the log: only '
      'deletions that the log tells of have certificates'
    )
  reached = {f['event'] for _, f, _, _ in rows if _concerns(f, request)}
  if 'erased' not in reached:
    raise errors.WorkdirError(
      f'request {request} is not erased yet: repair, then ask again'
    )
  told = [f['made'] for _, f, _, _ in rows if 'made' in f]
  if not told or told[-1] != made:
    raise errors.WorkdirError(
      'the stages are not those that were last repaired: repair, then ask again'
    )
