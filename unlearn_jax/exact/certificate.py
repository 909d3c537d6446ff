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

FORMAT = 1


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
  gone = {name for _, name in rows[0][1]['gone']}
  last = max(n for n, facts, _, _ in rows if 'made' in facts)
  before = ledger.log(first - 1)[0][3] if first > 1 else chain.START
  roots, left = books.records.roots(), ledger.tokens_of(request)
  deleted = [one for one in left if one.shard is not None]
  absent = books.records.absence([one.token for one in deleted])
  found = {
    'format': FORMAT,
    'request': request,
    'recipe': recipe.hex(),
    # The log from the row that accepted it: rows that matter as text, others
    # as digests. None after the last that tells of stages is left out, or it
    # could be an older one.
    'before': before.hex(),
    'rows': [
      text
      if n in about or n >= last or _removes(facts, gone)
      else {'digest': chain.digest(text).hex()}
      for n, facts, text, _ in rows
    ],
    'head': rows[-1][3].hex(),
    'roots': [[root.hex() for root in of_shard] for of_shard in roots],
    'stages': [list(stage) for stage in made],
    # With what shows that it is not in use; None in it where it came back.
    'deleted': [
      {
        'token': one.token.hex(),
        'shard': one.shard,
        'slice': one.part,
        'absent': proofs,
      }
      for one, proofs in zip(deleted, absent, strict=True)
    ],
    'owners': [one.token.hex() for one in left if one.shard is None],
  }
  return {**found, 'seal': files.digest(found)}


def _concerns(facts, request: int) -> bool:
  if facts['event'] == 'accepted':
    return any(told[0] == request for told in facts['requests'])
  return request in facts.get('requests', ())


def _removes(facts, gone: set[str]) -> bool:
  if facts['event'] != 'erasing':
    return False
  return any(name in gone for _, name, _ in facts['stages'])


def _tells(facts) -> bool:
  """Whether a row changes what may be used, or says what that has made."""
  return 'made' in facts or facts['event'] in ('accepted', 'added')


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
  last = next((f for _, f, _, _ in reversed(rows) if _tells(f)), {})
  if last.get('made') != made:
    raise errors.WorkdirError(
      'the stages are not those that were last repaired: repair, then ask again'
    )
