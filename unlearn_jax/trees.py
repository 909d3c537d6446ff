"""Pytrees of arrays: paths, digests, differences, sizes, selections.

A tree is named by its paths ('layer_0/kernel'). Equality means equal bits, and
one digest over (path, dtype, shape, bytes) decides it.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

Predicate = Callable[[str], bool]


def flatten(tree: Any) -> dict[str, Any]:
  """Leaves by path, sorted by path."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  named = {path_name(path): leaf for path, leaf in leaves}
  if len(named) != len(leaves):
    raise ValueError('two leaves of the tree have the same path name')
  return dict(sorted(named.items()))


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """The nested dict with these leaves, the inverse of `flatten` on dicts."""
  tree = {}
  for path, leaf in leaves.items():
    *parents, last = path.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree


def path_name(path) -> str:
  """A key path of jax as 'a/b/0'."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def digest(tree: Any) -> str:
  """SHA-256 over path, dtype, shape and bytes of every leaf, in hex."""
  h = hashlib.sha256()
  for path, leaf in flatten(tree).items():
    leaf = _host(leaf)
    # Lengths first: no two different trees give the same stream of bytes.
    head = f'{len(path)}:{path}|{leaf.dtype.name}|{leaf.shape}|{leaf.nbytes}|'
    h.update(head.encode())
    h.update(_bytes(leaf))
  return h.hexdigest()


class BitDiff(NamedTuple):
  """Where two trees differ: nowhere when `problems` is empty."""

  problems: tuple[str, ...]

  @property
  def equal(self) -> bool:
    return not self.problems

  def __str__(self) -> str:
    return 'bit-equal' if self.equal else '\n'.join(self.problems)


def bit_diff(left: Any, right: Any) -> BitDiff:
  """Compares two trees bit for bit; NaNs with equal bits are equal."""
  left, right = flatten(left), flatten(right)
  problems = [
    f'{path}: only on the left' for path in left.keys() - right.keys()
  ]
  problems += [
    f'{path}: only on the right' for path in right.keys() - left.keys()
  ]
  for path in left.keys() & right.keys():
    problem = _leaf_difference(_host(left[path]), _host(right[path]))
    if problem:
      problems.append(f'{path}: {problem}')
  return BitDiff(tuple(sorted(problems)))


def count(tree: Any) -> int:
  """Number of scalars in the tree."""
  return sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(tree))


def partition(tree: Any, chosen: Predicate) -> tuple[dict, dict]:
  """(leaves whose path is chosen, the others), both by path."""
  named = flatten(tree)
  picked = {path: leaf for path, leaf in named.items() if chosen(path)}
  return picked, {p: leaf for p, leaf in named.items() if p not in picked}


def merge(*parts: Mapping[str, Any]) -> dict[str, Any]:
  """The nested dict with the leaves of all parts, by path."""
  return unflatten(
    {path: leaf for part in parts for path, leaf in part.items()}
  )


def all_finite(tree: Any) -> bool:
  """Whether no leaf of floats holds NaN or infinity."""
  leaves = map(_host, jax.tree.leaves(tree))
  return all(
    bool(np.isfinite(leaf).all())
    for leaf in leaves
    if jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
  )


def _host(leaf: Any) -> np.ndarray:
  if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
    leaf.dtype, jax.dtypes.prng_key
  ):
    leaf = jax.random.key_data(leaf)
  return np.asarray(leaf)


def _bytes(leaf: np.ndarray) -> bytes:
  return np.ascontiguousarray(leaf).tobytes()


def _leaf_difference(left: np.ndarray, right: np.ndarray) -> str | None:
  if left.dtype != right.dtype or left.shape != right.shape:
    return (
      f'{left.dtype.name}{left.shape} against {right.dtype.name}{right.shape}'
    )
  if _bytes(left) == _bytes(right):
    return None
  as_bits = [
    np.frombuffer(_bytes(leaf), np.uint8).reshape(left.size, -1)
    for leaf in (left, right)
  ]
  differing = int((as_bits[0] != as_bits[1]).any(axis=1).sum())
  with np.errstate(invalid='ignore'):
    gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
  return f'{differing} of {left.size} differ, by at most {np.max(gap):.3g}'
