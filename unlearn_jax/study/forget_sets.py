"""Sets of examples to forget, by construction: deterministic, in positions.

Easy and hard ones differ: random examples are replaced by what stays, a set
that the model leans on as a group is not. Each function returns sorted
positions of the training data.
"""

import pathlib

import numpy as np

from unlearn_jax import errors, files, keys, types


def random(data: types.Dataset, size: int, seed: int = 0) -> np.ndarray:
  """A draw by keyed hash of the ids, which no other row can move."""
  _check(size, len(data))
  return np.sort(keys.order(data.ids, f'forget set {seed}')[:size])


def principal(weights: np.ndarray, size: int, component: int = 1) -> np.ndarray:
  """The largest entries of a principal component of the datamodel matrix.

  Args:
    weights: [n, n] effects of training examples on their own margins.
    size: of the set.
    component: from 1; a negative one takes the other end. The sign of a
      component is fixed so that its largest entry is positive.
  """
  _check(size, len(weights))
  if not 1 <= abs(component) <= min(weights.shape):
    raise errors.ConfigError(
      f'component is 1..{min(weights.shape)} or its negative, got {component}'
    )
  vector = np.linalg.svd(weights)[0][:, abs(component) - 1]
  vector = vector * np.sign(vector[np.argmax(np.abs(vector))])
  return np.sort(np.argsort(-np.sign(component) * vector)[:size])


def of_class(labels: np.ndarray, label: int, size: int) -> np.ndarray:
  """The first examples of a class."""
  found = np.flatnonzero(labels == label)
  _check(size, len(found), f'of class {label}')
  return found[:size]


def nearest(features: np.ndarray, to: int, size: int) -> np.ndarray:
  """Example `to` and its nearest neighbors in a feature space [n, d]."""
  _check(size, len(features))
  if not 0 <= to < len(features):
    raise errors.UnknownPosition(f'{to} is not in 0..{len(features) - 1}')
  distances = np.linalg.norm(features - features[to], axis=1)
  return np.sort(np.argsort(distances, kind='stable')[:size])


def memorised(weights: np.ndarray, size: int) -> np.ndarray:
  """The examples that raise their own margin most; `weights` is [n, n]."""
  _check(size, len(weights))
  return np.sort(np.argsort(-np.diagonal(weights), kind='stable')[:size])


def of_owner(data: types.Dataset, owner: int | str) -> np.ndarray:
  """Everything an owner has given."""
  found = np.flatnonzero(data.owners == owner)
  if not found.size:
    raise errors.UnknownId(f'{owner!r} owns nothing in {data.name}')
  return found


def save(path: pathlib.Path, data: types.Dataset, sets) -> None:
  """Writes {name: positions} as JSON, by id: positions belong to one file."""
  named = {name: data.ids[at] for name, at in sets.items()}
  files.write_json(path, named)


def _check(size: int, among: int, what: str = 'there are') -> None:
  if not 1 <= size < among:
    raise errors.ConfigError(
      f'the size of a forget set is 1..{among - 1}, for {among} {what}; got '
      f'{size}'
    )
