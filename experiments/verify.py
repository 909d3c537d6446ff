r"""Checks the certificate of a deletion; needs nothing but Python.

  python verify.py certificates/2.json --head=<kept elsewhere> [--workdir=DIR]

Written apart from the package, for strangers to read. It checks, and stops at
the first thing that is wrong:

  1. the rows of the log lead, link by link, to a head, and the one that you
     kept is on that way: so nobody has written anew what came before it. What
     came after is the word of who keeps the log: keep the head of the end;
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
`audit.py --sample=q`, which needs the data. Earlier copies are out of reach.
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
  parser.add_argument('--any_head', action='store_true', help='bound to none')
  parser.add_argument('--workdir', help='of the system, to check its files')
  parser.add_argument('--id', help='an example that should be among them')
  parser.add_argument('--system', help='system.json, with the key of tokens')
  flags = parser.parse_args()
  if bool(flags.head) == flags.any_head or bool(flags.id) != bool(flags.system):
    parser.error('--head or --any_head is needed, and --id with --system')
  try:
    found = _read(flags.certificate)
    told = check(found, flags.head)
    if flags.workdir:
      told['files'] = check_files(found, flags.workdir)
    if flags.id:
      check_id(found, flags.id, flags.system)
      told['id'] = f'{flags.id} is among the deleted'
  except Refused as error:
    sys.exit(f'REFUSED: {error}')
  except Exception as error:  # what a mutilated one makes Python trip over
    sys.exit(f'REFUSED: {flags.certificate}: {type(error).__name__}: {error}')
  for name, value in told.items():
    print(f'{name:12}{value}')
  print('verified' if flags.head else 'consistent, but bound to no head')


def check(found: dict, head: str | None) -> dict:
  """Refuses a certificate that does not hold; what it certifies."""
  fields = 'before deleted format head owners recipe request roots rows seal'
  _only(found, f'{fields} stages')
  content = {name: found[name] for name in found if name != 'seal'}
  _hold(_digest(content) == found['seal'], 'its content has another seal')
  _hold(_whole(found['format']) == 1, f'format {found["format"]} is not known')
  rows = _chain(found, head)
  accepted, erased = _states(found, rows)
  _check_roots(found, _last(rows))
  _check_deleted(found, rows[accepted])
  removed = _check_removed(found, rows[accepted:erased])
  times = [rows[n]['at'] for n in (accepted, erased)]
  at = [datetime.datetime.fromtimestamp(t, datetime.UTC) for t in times]
  return {
    'request': found['request'],
    'accepted': f'{at[0]}, erased {at[1]}',
    'examples': len(found['deleted']),
    'stages': f'{len(found["stages"])} now, {removed} removed',
    'head': found['head'],
  }


def _chain(found: dict, head: str | None) -> list[dict | None]:
  """The rows that are shown, None for the others; linked up to the head."""
  link, links, rows = _bytes(found['before']), [], []
  for row in found['rows']:
    if isinstance(row, str):
      digest = _sha(b'row', row.encode())
      rows.append(json.loads(row))
    else:
      _only(row, 'digest')
      digest = _bytes(row['digest'])
      rows.append(None)
    link = _sha(b'link', link, digest)
    links.append(link.hex())
  _hold(links[-1] == found['head'], 'the log does not lead to the head')
  _hold(head is None or head in links, 'the head that was kept is not passed')
  return rows


def _states(found: dict, rows: list) -> tuple[int, int]:
  """Where the request was accepted and erased; in between come the others."""
  request, first = _whole(found['request']), {}
  for n, row in enumerate(rows):
    if row and row['event'] in _STATES:
      for told in row['requests']:
        seq = told[0] if row['event'] == 'accepted' else told
        first.setdefault((row['event'], seq), n)
  at = [first.get((state, request), -1) for state in _STATES]
  in_order = -1 not in at and at == sorted(at)
  _hold(in_order, f'{_STATES} are not told of in order, but in rows {at}')
  return at[0], at[-1]


def _last(rows: list) -> dict:
  """The row that tells of the stages and roots of now.

  All that comes after must be shown: a newer one could be hidden there.
  """
  for row in reversed(rows):
    _hold(row, 'a row after the last that tells of stages is not shown')
    if 'made' in row:
      return row
    _hold(row['event'] not in ('accepted', 'added'), 'changed after a repair')
  raise Refused('no row tells of the stages')


def _check_roots(found: dict, last: dict) -> None:
  """Roots, stages and names against the row that fixes them."""
  roots = [[_bytes(root) for root in shard] for shard in found['roots']]
  same = _sha(b'roots', *sum(roots, [])).hex() == last['roots'] and all(roots)
  _hold(same, 'the roots are not those of the log')
  _hold(found['recipe'] == last['recipe'], 'the recipe is not that of the log')
  same = _digest(found['stages']) == last['made']
  _hold(same, 'the stages are not those of the log')
  for stage, name, _, _ in found['stages']:
    _hold(re.fullmatch('[0-9]+:[0-9]+(-[0-9]+)*', stage), f'no stage: {stage}')
    shard, *prefix = map(int, re.findall('[0-9]+', stage))
    parts = [part.to_bytes(4, 'big') + roots[shard][part] for part in prefix]
    recipe = _bytes(found['recipe']) + shard.to_bytes(4, 'big')
    right = _sha(b'stage', recipe, *parts).hex() == name
    _hold(right, f'stage {stage} has a name of its own making')


def _check_deleted(found: dict, accepted: dict) -> None:
  """That exactly these left, and that none of them is there now."""
  told = next(t for t in accepted['requests'] if t[0] == found['request'])
  lines = [f'{_bytes(token).hex()} None None\n' for token in found['owners']]
  changed = [row[:2] for row in accepted['changed']]
  for one in found['deleted']:
    _only(one, 'absent shard slice token')
    token, shard, part = _bytes(one['token']), one['shard'], one['slice']
    lines.append(f'{token.hex()} {_whole(shard)} {_whole(part)}\n')
    _hold([shard, part] in changed, f'slice {shard}:{part} was not changed')
    for proofs, roots in zip(one['absent'], found['roots'], strict=True):
      for proof, root in zip(proofs, roots, strict=True):
        _hold(proof is not None, 'an example has come back since')
        _check_absence(proof, token, _bytes(root))
  owners = len(found['owners'])
  in_order = [*sorted(lines[:owners]), *sorted(lines[owners:])] == lines
  same = told[2] == _sha(''.join(sorted(lines)).encode()).hex()
  _hold(same and in_order, 'other examples were deleted')


def _check_absence(proof: dict, token: bytes, root: bytes) -> None:
  """That a token falls between two neighbors in the tree of this root."""
  _only(proof, 'count neighbors')
  count, near = _whole(proof['count']), proof['neighbors']
  size = count.to_bytes(8, 'big')
  if near == []:
    empty = _sha(b'root', bytes(8), _sha(b'empty')) == root and count == 0
    return _hold(empty, 'the slice is not empty')
  places = [_whole(one['at']) for one in near]
  at_end = places in ([0], [count - 1])
  beside = len(places) == 2 and places[1] == places[0] + 1
  _hold(at_end or beside, 'two that are no neighbors')
  for one in near:
    _only(one, 'at beside seal token')
    _hold(one['at'] < count, 'a place outside the tree')
    node = _sha(b'leaf', _bytes(one['token']), _bytes(one['seal']))
    top = _sha(b'root', size, _climb(node, one['at'], count, one['beside']))
    _hold(top == root, 'a neighbor is not in the tree')
  names = [_bytes(one['token']) for one in near]
  # Alone at an end; of a tree of one it may stand on either side.
  after = places == [count - 1] and token > names[0]
  before = places == [0] and token < names[0]
  between = beside and names[0] < token < names[1]
  _hold(after or before or between, 'a token is not beside its neighbors')


def _climb(node: bytes, at: int, count: int, beside: list) -> bytes:
  """From a leaf to the top; an odd last node moves up as it is."""
  beside = [_bytes(other) for other in beside]
  while count > 1:
    if at ^ 1 < count:
      _hold(beside, 'a way to the root is too short')
      other = beside.pop(0)
      node = _sha(b'node', *((other, node) if at % 2 else (node, other)))
    at, count = at // 2, (count + 1) // 2
  _hold(not beside, 'a way to the root is too long')
  return node


def _check_removed(found: dict, rows: list) -> int:
  """That every stage which had seen them is listed as removed meanwhile."""
  erasing = [row for row in rows if row and row['event'] == 'erasing']
  removed = {name for row in erasing for _, name, _ in row['stages']}
  removed -= {name for _, name, _, _ in found['stages']}
  for stage, name in rows[0]['gone']:
    _hold(name in removed, f'stage {stage} ({name}) was not removed')
  return len(rows[0]['gone'])


def check_files(found: dict, workdir: str) -> str:
  """The stored files against what the log fixed, file by file."""
  folder = os.path.join(workdir, 'stages')
  names = {name for _, name, _, _ in found['stages']}
  others = sorted(set(os.listdir(folder)) ^ names)
  _hold(not others, f'{folder} holds, or lacks, {others[:3]}')
  for stage, name, _, seal in found['stages']:
    home = os.path.join(folder, name)
    facts = _read(os.path.join(home, 'checkpoint.json'))
    same = facts.pop('seal') == _digest(facts) == seal
    _hold(same, f'{home}/checkpoint.json is not the one of the log')
    there = {f'arrays/{path}' for path in facts['files']} | {'checkpoint.json'}
    others = sorted(_below(home) ^ there)
    _hold(not others, f'{home} holds, or lacks, {others[:3]}')
    for path, expected in facts['files'].items():
      with open(os.path.join(home, 'arrays', path), 'rb') as file:
        same = _sha(file.read()).hex() == expected
      _hold(same, f'{home}/arrays/{path} has changed (stage {stage})')
  return f'those of {len(names)} stages are as the log fixed them'


def _below(home: str) -> set[str]:
  """All files, and links whatever they point to."""
  return {
    os.path.relpath(os.path.join(root, name), home).replace(os.sep, '/')
    for root, folders, names in os.walk(home)
    for name in names + folders
    if name in names or os.path.islink(os.path.join(root, name))
  }


def check_id(found: dict, name: str, system: str) -> None:
  """That a certain example is among the deleted; needs the system's key."""
  key = bytes.fromhex(_read(system)['salt'])
  whole = int(name) if re.fullmatch(r'[+-]?[0-9]+', name) else name
  named = [repr(('id', one)).encode() for one in (name, whole)]
  tokens = [hmac.digest(key, text, 'sha256').hex() for text in named]
  among = any(one['token'] in tokens for one in found['deleted'])
  _hold(among, f'{name} is not among the deleted')


def _only(one: dict, names: str) -> None:
  _hold(sorted(one) == names.split(), f'other fields than {names}')


def _whole(number) -> int:
  _hold(type(number) is int and number >= 0, f'no number: {number!r}')
  return number


def _bytes(text) -> bytes:
  """Of exactly 32: what two are made of could else be cut elsewhere."""
  _hold(type(text) is str and re.fullmatch('[0-9a-f]{64}', text), 'no digest')
  return bytes.fromhex(text)


def _sha(*parts: bytes) -> bytes:
  return hashlib.sha256(b''.join(parts)).digest()


def _digest(value) -> str:
  return _sha(json.dumps(value, sort_keys=True).encode()).hex()


def _read(path: str) -> dict:
  with open(path, 'rb') as file:
    return json.loads(file.read())


def _hold(condition, why: str) -> None:
  if not condition:
    raise Refused(why)


if __name__ == '__main__':
  main()
