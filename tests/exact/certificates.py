"""What checks certificates, as a stranger runs it, and ways to spoil one."""

import copy
import hashlib
import importlib.util
import json
import pathlib

import numpy as np

PATH = pathlib.Path(__file__).parents[2] / 'experiments' / 'verify.py'


def load():
  """`experiments/verify.py`, which is no part of the package."""
  spec = importlib.util.spec_from_file_location('verify', PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


verify = load()


def holds(found, head):
  """What it certifies; of a copy, as a file would have it."""
  return verify.check(json.loads(json.dumps(found)), head)


def refused(found, head):
  """Why it is refused; None when it is not."""
  try:
    holds(found, head)
  # The binary refuses whatever Python trips over, too.
  except Exception as error:
    return str(error) or repr(error)
  return None


def sealed(found):
  """The same with a seal that fits, as whoever forges one would make it."""
  content = {name: found[name] for name in found if name != 'seal'}
  text = json.dumps(content, sort_keys=True)
  return {**content, 'seal': hashlib.sha256(text.encode()).hexdigest()}


def linked(found):
  """The same with a head that its rows lead to."""
  link = bytes.fromhex(found['before'])
  for row in found['rows']:
    if isinstance(row, str):
      digest = hashlib.sha256(b'row' + row.encode()).digest()
    else:
      digest = bytes.fromhex(row['digest'])
    link = hashlib.sha256(b'link' + link + digest).digest()
  return {**found, 'head': link.hex()}


def places(value, path=()):
  """Paths to everything inside of `value`, itself first."""
  yield path
  children = {dict: dict.items, list: enumerate}.get(type(value))
  for key, child in children(value) if children else ():
    yield from places(child, (*path, key))


def at(value, path):
  for key in path:
    value = value[key]
  return value


def other(rng, leaf):
  """Another leaf that could stand there."""
  if isinstance(leaf, bool) or leaf is None:
    return [0, 1, '', 'ab' * 32, []][rng.integers(5)]
  if isinstance(leaf, int | float):
    changed = [leaf + 1, leaf - 1, -leaf - 1, 2**40, str(leaf), None]
    same = [float(leaf), True] if leaf != 1 else [1.0, True]
    return [*changed, *same][rng.integers(8)]
  spot = int(rng.integers(len(leaf))) if leaf else 0
  digit = '0123456789abcdef'[rng.integers(16)]
  return [
    leaf[:spot] + digit + leaf[spot + 1 :],
    leaf[:spot],
    leaf[spot:],
    leaf + digit,
    leaf.upper(),
    f' {leaf}',
    f'{leaf}\n',
    '',
    None,
    {leaf: leaf},
    [leaf],
  ][rng.integers(11)]


def _change(rng, value):
  leaves = [
    p for p in places(value) if not isinstance(at(value, p), dict | list)
  ]
  path = leaves[rng.integers(len(leaves))]
  at(value, path[:-1])[path[-1]] = other(rng, at(value, path))


def _drop(rng, value):
  some = [path for path in places(value) if path]
  path = some[rng.integers(len(some))]
  del at(value, path[:-1])[path[-1]]


def _lists(value):
  return [
    p for p in places(value) if type(at(value, p)) is list and at(value, p)
  ]


def _duplicate(rng, value):
  some = _lists(value)
  found = at(value, some[rng.integers(len(some))])
  one = copy.deepcopy(found[rng.integers(len(found))])
  found.insert(int(rng.integers(len(found) + 1)), one)


def _reorder(rng, value):
  some = [path for path in _lists(value) if len(at(value, path)) > 1]
  found = at(value, some[rng.integers(len(some))])
  found[:] = [found[i] for i in rng.permutation(len(found))]


def _swap(rng, value):
  """Two things of one type, wherever they stand."""
  some = [path for path in places(value) if path]
  one = some[rng.integers(len(some))]
  kind = type(at(value, one))
  alike = [
    path
    for path in some
    if type(at(value, path)) is kind
    and path[: len(one)] != one != path
    and one[: len(path)] != path
  ]
  if alike:
    two = alike[rng.integers(len(alike))]
    first, second = at(value, one), at(value, two)
    at(value, one[:-1])[one[-1]], at(value, two[:-1])[two[-1]] = second, first


def _add(rng, value):
  """Something that nobody asked for."""
  some = [p for p in places(value) if isinstance(at(value, p), dict | list)]
  found = at(value, some[rng.integers(len(some))])
  extra = [None, 0, '', {}, [], 'ab' * 32][rng.integers(6)]
  if isinstance(found, list):
    found.append(extra)
  else:
    found['note'] = extra


def _edit_row(rng, value):
  """The row as the log would write it."""
  shown = [n for n, row in enumerate(value['rows']) if isinstance(row, str)]
  n = shown[rng.integers(len(shown))]
  row = json.loads(value['rows'][n])
  [_change, _drop, _add][rng.integers(3)](rng, row)
  value['rows'][n] = json.dumps(row, sort_keys=True, separators=(',', ':'))


def _hide_row(rng, value):
  shown = [n for n, row in enumerate(value['rows']) if isinstance(row, str)]
  n = shown[rng.integers(len(shown))]
  text = b'row' + value['rows'][n].encode()
  value['rows'][n] = {'digest': hashlib.sha256(text).hexdigest()}


def _cut(rng, value):
  """The log ends earlier, or begins later."""
  rows, n = value['rows'], int(rng.integers(1, len(value['rows'])))
  value['rows'] = rows[:n] if rng.random() < 0.5 else rows[n:]


def _proof(rng, value):
  """Inside of one proof, where most of a certificate is not."""
  proofs = [p for p in places(value) if p and p[-1] == 'absent']
  of_one = at(value, proofs[rng.integers(len(proofs))])
  of_shard = of_one[rng.integers(len(of_one))]
  proof = of_shard[rng.integers(len(of_shard))]
  [_change, _drop, _duplicate, _reorder][rng.integers(4)](rng, [proof])


KINDS = (
  *(_change, _drop, _duplicate, _reorder, _swap, _add),
  *(_edit_row, _hide_row, _cut, _proof),
)


def spoiled(rng, found):
  """(kind, another certificate) that says or shows something else."""
  while True:
    value = copy.deepcopy(found)
    kind = KINDS[rng.integers(len(KINDS))]
    try:
      kind(rng, value)
      if rng.random() < 0.3:
        value = linked(value)
    except (LookupError, TypeError, ValueError, AttributeError):
      continue  # no place for this one
    if rng.random() < 0.8 and 'seal' in value:
      value = sealed(value)
    if json.dumps(value, sort_keys=True) != json.dumps(found, sort_keys=True):
      return kind.__name__, value


def generator(seed):
  return np.random.default_rng(seed)
