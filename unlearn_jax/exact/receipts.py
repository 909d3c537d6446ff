"""What a request is told, and what the log is told of it."""

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unlearn_jax.exact import books, merkle, stages

Roots = Sequence[Sequence[bytes]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
  """What a deletion did, given when it has taken effect."""

  request: int | None  # None: nothing was left to delete
  deleted: int  # examples that left now
  already: int  # ids and owners of the request that had left before
  gone: tuple[str, ...]  # stages that may not be used any more
  depths: tuple[int, ...]  # served depth of each shard afterwards
  seconds: float  # from the call to here: time to non-use
  head: str  # of the log, to be kept elsewhere


def answer(
  found: books.Found, gone: Sequence[str], depths: Sequence[int]
) -> dict[str, Any]:
  """What a request is told, now and whenever it is asked again."""
  return {
    'request': None,
    'deleted': len(found.positions),
    'already': found.already,
    'gone': list(gone),
    'depths': list(depths),
  }


def give(
  found: Sequence[books.Found],
  carried_out: Iterable[Mapping[str, Any]],
  depths: Sequence[int],
  head: str,
  began: float,
) -> list[Receipt]:
  """A receipt for each request.

  Args:
    found: what the requests meant.
    carried_out: answers to those that had somebody to delete, in their order.
    depths: that are served now.
    head: of the log now.
    began: when the call did, by the monotonic clock.
  """
  carried_out, receipts = iter(carried_out), []
  for each in found:
    if isinstance(each.known, int):  # a request of the same call, repeated
      receipts.append(receipts[each.known])
      continue
    if each.known is not None:
      told = each.known.answer
    elif len(each.positions):
      told = next(carried_out)
    else:
      told = answer(each, (), depths)
    told = {
      name: tuple(value) if isinstance(value, list) else value
      for name, value in told.items()
    }
    seconds = time.monotonic() - began
    receipts.append(Receipt(**told, seconds=seconds, head=head))
  return receipts


def facts(
  before: Roots, after: Roots, gone: Mapping[stages.Stage, str]
) -> dict[str, Any]:
  """What the log holds of a deletion: roots, and stored stages that went."""
  return {
    'roots': merkle.of_roots(after).hex(),
    'before': merkle.of_roots(before).hex(),
    'changed': [
      [shard, part, before[shard][part].hex(), root.hex()]
      for shard, of_shard in enumerate(after)
      for part, root in enumerate(of_shard)
      if root != before[shard][part]
    ],
    'gone': [[str(stage), name] for stage, name in gone.items()],
  }
