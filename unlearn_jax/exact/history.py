"""What a log says of each request, to compare with what stands beside it."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

STATES = ('accepted', 'deactivated', 'repaired', 'erased')


@dataclasses.dataclass
class Told:
  """A request as the log has it; digests are hex, None where it says none."""

  kind: str
  count: int
  row: int
  tokens: str  # of the tokens of who left, or came back
  name: str | None  # of what identifies the request, and of its answer
  times: dict[str, float] = dataclasses.field(default_factory=dict)


def requests(rows: Iterable[Mapping[str, Any]]) -> dict[int, Told]:
  """{number: what was told}, from the facts of all rows in order."""
  found: dict[int, Told] = {}
  for number, row in enumerate(rows, start=1):
    event = row['event']
    if event == 'migrated':
      for seq, kind, count, tokens, times in row['requests']:
        found[seq] = Told(kind, count, number, tokens, None, dict(times))
    elif event == 'added':
      seq, count, tokens = row['request']
      found[seq] = Told('add', count, number, tokens, None)
      found[seq].times['accepted'] = row['at']
    elif event == 'accepted':
      for seq, count, tokens, name in row['requests']:
        found[seq] = Told('delete', count, number, tokens, name)
        found[seq].times['accepted'] = row['at']
    elif event in STATES:
      for seq in row['requests']:
        found[seq].times.setdefault(event, row['at'])
  return found
