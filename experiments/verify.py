r"""Checks the certificate of a deletion; needs nothing but Python.

  python verify.py certificates/2.json --head=<kept elsewhere> [--workdir=DIR]

Written apart from the package, so that a stranger can read all that is relied
on. It checks, and stops at the first thing that is wrong:

  1. the rows of the log lead, link by link, to a head, and the one that you
     kept is on that way: so nobody has written the log anew since;
  2. these rows accept the request, and say that it was deactivated, repaired
     and erased, in this order;
  3. what left are exactly the examples of the request (as keyed tokens), and
     none of them is under the Merkle roots of what the system may use now;
  4. the names of all stages follow from the recipe and these roots: so a stage
     of this name was not to see the examples;
  5. the stages that had seen them are listed as removed, and none is left;
  6. with --workdir: the stored files are those that the log fixed, and nothing
     else stands beside them.

It does not train: that the bits of a stage are what its name says is checked by
`audit.py --sample=q`, which needs the data. Nothing can be read off weights
alone, and copies made before the deletion are out of reach.
"""

import argparse
import datetime
import hashlib
import hmac
import json
import os
import re
import sys

_STATES = ('accepted', 'deactivated', 'repaired', 'erased')


class Refused(Exception):
  """Something in a certificate that does not hold."""


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('certificate', help='a JSON file')
  parser.add_argument('--head', help='head of the log that you have kept')
  parser.add_argument(
    '--any_head', action='store_true', help='only check that it fits together'
  )
  parser.add_argument('--workdir', help='of the system, to check its files')
  parser.add_argument('--id', help='an example that should be among them')
  parser.add_argument(
    '--system', help='system.json, with the key of the tokens'
  )
  flags = parser.parse_args()
  if bool(flags.head) == flags.any_head:
    parser.error('give the --head that you have kept, or --any_head')
  if bool(flags.id) != bool(flags.system):
    parser.error('--id and --system go together')
  try:
    with open(flags.certificate, 'rb') as file:
      found = json.loads(file.read(), parse_constant=_no_constant)
    told = check(found, flags.head)
    if flags.workdir:
      told['files'] = check_files(found, flags.workdir)
    if flags.id:
      check_id(found, flags.id, flags.system)
      told['id'] = f'{flags.id} is among the deleted'
  except Refused as error:
    sys.exit(f'REFUSED: {error}')
  except (OSError, ValueError, TypeError, KeyError, IndexError,
          AttributeError, RecursionError) as error:  # fmt: skip
    sys.exit(f'REFUSED: not a whole certificate: {error!r}')
  for name, value in told.items():
    print(f'{name:12}{value}')
  print('verified' if flags.head else 'consistent, but bound to no head')


def check(found: dict, head: str | None) -> dict:
  """Refuses a certificate that does not hold; what it certifies."""
  seal = found.pop('seal')
  _hold(_digest(found) == seal, 'its content does not match its seal')
  _hold(found['format'] == 1, f'format {found["format"]} is not known')
  rows = _chain(found, head)
  accepted = _states(found, rows)
  last = [row for row in rows if row and 'made' in row][-1]
  _check_roots(found, last)
  _check_deleted(found, accepted)
  removed = _check_removed(found, rows, accepted)
  return {
    'request': found['request'],
    'accepted': _time(accepted['at']),
    'erased': _time(_row_of(rows, 'erased', found['request'])['at']),
    'examples': len(found['deleted']),
    'stages': f'{len(found["stages"])} now, {removed} removed',
    'head': found['head'],
  }


def _chain(found: dict, head: str | None) -> list[dict | None]:
  """The rows that are shown, None for the others; linked up to the head."""
  _hold(type(found['first']) is int and found['first'] > 0, 'bad first row')
  link, links, rows = bytes.fromhex(found['before']), [], []
  for row in found['rows']:
    if isinstance(row, str):
      digest = hashlib.sha256(b'row' + row.encode()).digest()
      rows.append(json.loads(row))
    else:
      digest = bytes.fromhex(row['digest'])
      rows.append(None)
    link = hashlib.sha256(b'link' + link + digest).digest()
    links.append(link.hex())
  _hold(
    links and links[-1] == found['head'], 'the log does not lead to the head'
  )
  _hold(head is None or head in links, 'the head that was kept is not passed')
  return rows


def _states(found: dict, rows: list) -> dict:
  """The row that accepted the request; the others must follow."""
  request, at = found['request'], -1
  for state in _STATES:
    row = _row_of(rows, state, request)
    _hold(row is not None, f'no row says that it was {state}')
    _hold(rows.index(row) > at, f'{state} comes too early')
    at = rows.index(row)
  return _row_of(rows, 'accepted', request)


def _row_of(rows: list, state: str, request: int) -> dict | None:
  for row in rows:
    if row and row['event'] == state:
      told = row['requests']
      if request in ([t[0] for t in told] if state == 'accepted' else told):
        return row
  return None


def _check_roots(found: dict, last: dict) -> None:
  """Roots, stages and names against the row that fixes them."""
  roots = [[bytes.fromhex(root) for root in shard] for shard in found['roots']]
  flat = b''.join(b''.join(shard) for shard in roots)
  combined = hashlib.sha256(b'roots' + flat).hexdigest()
  _hold(combined == last['roots'], 'the roots are not those of the log')
  _hold(found['recipe'] == last['recipe'], 'the recipe is not that of the log')
  _hold(
    _digest(found['stages']) == last['made'],
    'the stages are not those of the log',
  )
  recipe = bytes.fromhex(found['recipe'])
  for stage, name, _, _ in found['stages']:
    shard, prefix = _parts(stage)
    h = hashlib.sha256(b'stage' + recipe + shard.to_bytes(4, 'big'))
    for part in prefix:
      h.update(part.to_bytes(4, 'big') + roots[shard][part])
    _hold(h.hexdigest() == name, f'stage {stage} has a name of its own making')


def _check_deleted(found: dict, accepted: dict) -> None:
  """That exactly these left, and that none of them is there now."""
  told = next(t for t in accepted['requests'] if t[0] == found['request'])
  tokens = [bytes.fromhex(one['token']) for one in found['deleted']]
  owners = [bytes.fromhex(token) for token in found['owners']]
  all_ = hashlib.sha256(b''.join(sorted(tokens + owners))).hexdigest()
  _hold(
    told[1] == len(tokens) and told[2] == all_, 'other examples were deleted'
  )
  changed = {(shard, part) for shard, part, _, _ in accepted['changed']}
  for one, token in zip(found['deleted'], tokens, strict=True):
    place = one['shard'], one['slice']
    _hold(place in changed, f'slice {place} was not changed')
    _hold(one['absent'] is not None, 'an example has come back since')
    root = bytes.fromhex(found['roots'][place[0]][place[1]])
    _check_absence(one['absent'], token, root)


def _check_absence(proof: dict, token: bytes, root: bytes) -> None:
  """That a token falls between two neighbors in the tree of this root."""
  count, near = proof['count'], proof['neighbors']
  _hold(type(count) is int and count >= 0, 'a count is no number')
  if count == 0:
    top = hashlib.sha256(b'empty').digest()
    _hold(not near and _rooted(0, top) == root, 'the slice is not empty')
    return
  places = [one['at'] for one in near]
  _hold(places in ([0], [count - 1]) or (
    len(places) == 2 and places[1] == places[0] + 1
  ), 'two that are no neighbors')  # fmt: skip
  for one in near:
    name, at = bytes.fromhex(one['token']), one['at']
    _hold(type(at) is int and 0 <= at < count, 'a place outside the tree')
    node = hashlib.sha256(b'leaf' + name + bytes.fromhex(one['seal'])).digest()
    _hold(_rooted(count, _climb(node, at, count, one['beside'])) == root,
          'a neighbor is not in the tree')  # fmt: skip
  names = [bytes.fromhex(one['token']) for one in near]
  if len(near) == 2:
    _hold(names[0] < token < names[1], 'a token is not between its neighbors')
  else:
    # Alone at an end; of a tree of one it may stand on either side.
    after, before = places == [count - 1], places == [0]
    outside = (after and token > names[0]) or (before and token < names[0])
    _hold(outside, 'a token is not outside its neighbor')


def _climb(node: bytes, at: int, count: int, beside: list) -> bytes:
  """From a leaf to the top; an odd last node moves up as it is."""
  beside = [bytes.fromhex(other) for other in beside]
  while count > 1:
    if at ^ 1 < count:
      _hold(beside, 'a way to the root is too short')
      other = beside.pop(0)
      pair = other + node if at % 2 else node + other
      node = hashlib.sha256(b'node' + pair).digest()
    at, count = at // 2, (count + 1) // 2
  _hold(not beside, 'a way to the root is too long')
  return node


def _rooted(count: int, top: bytes) -> bytes:
  return hashlib.sha256(b'root' + count.to_bytes(8, 'big') + top).digest()


def _check_removed(found: dict, rows: list, accepted: dict) -> int:
  """That every stage which had seen them is listed as removed."""
  erasing = [row for row in rows if row and row['event'] == 'erasing']
  removed = {name for row in erasing for _, name, _ in row['stages']}
  there = {name for _, name, _, _ in found['stages']}
  for stage, name in accepted['gone']:
    _hold(name in removed, f'stage {stage} ({name}) was not removed')
    _hold(name not in there, f'stage {stage} ({name}) is still in use')
  return len(accepted['gone'])


def check_files(found: dict, workdir: str) -> str:
  """The stored files against what the log fixed, file by file."""
  folder, count = os.path.join(workdir, 'stages'), 0
  names = {name for _, name, _, _ in found['stages']}
  others = sorted(set(os.listdir(folder)) - names)
  _hold(not others, f'{folder} also holds {others[:3]}')
  for stage, name, digest, seal in found['stages']:
    home = os.path.join(folder, name)
    with open(os.path.join(home, 'checkpoint.json'), 'rb') as file:
      facts = json.loads(file.read())
    facts.pop('seal')
    same = _digest(facts) == seal
    _hold(same, f'{home}/checkpoint.json is not the one of the log')
    _hold(facts['meta']['digest'] == digest, f'{home} holds another state')
    arrays = os.path.join(home, 'arrays')
    stored = {
      os.path.relpath(os.path.join(root, one), arrays).replace(os.sep, '/')
      for root, _, files in os.walk(arrays)
      for one in files
    }
    _hold(
      stored == set(facts['files']), f'{arrays}: other files than were saved'
    )
    for path, expected in facts['files'].items():
      with open(os.path.join(arrays, path), 'rb') as file:
        same = hashlib.sha256(file.read()).hexdigest() == expected
      _hold(same, f'{arrays}/{path} has changed (stage {stage})')
      count += 1
  return f'{count} of {len(names)} stages as the log fixed them'


def check_id(found: dict, name: str, system: str) -> None:
  """That a certain example is among the deleted; needs the system's key."""
  with open(system, 'rb') as file:
    key = bytes.fromhex(json.loads(file.read())['salt'])
  whole = int(name) if re.fullmatch(r'[+-]?[0-9]+', name) else name
  tokens = {
    hmac.digest(key, repr(('id', one)).encode(), 'sha256').hex()
    for one in (name, whole)
  }
  _hold(tokens & {one['token'] for one in found['deleted']},
        f'{name} is not among the deleted')  # fmt: skip


def _parts(stage: str) -> tuple[int, list[int]]:
  _hold(re.fullmatch(r'[0-9]+:[0-9]+(-[0-9]+)*', stage), f'no stage: {stage!r}')
  shard, _, prefix = stage.partition(':')
  return int(shard), [int(part) for part in prefix.split('-')]


def _digest(value) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _time(at: float) -> str:
  moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
  return moment.isoformat(timespec='seconds')


def _no_constant(name: str):
  raise ValueError(f'{name} is no number')


def _hold(condition, why: str) -> None:
  if not condition:
    raise Refused(why)


if __name__ == '__main__':
  main()
