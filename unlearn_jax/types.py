"""The words: what an example, a batch, a data set, a task and a model are."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from unlearn_jax import errors

Array = jax.Array | np.ndarray
Params = Any  # a nested dict of arrays; statistics live under 'stats'


@dataclasses.dataclass(frozen=True)
class Task:
  """What the outputs of a model mean."""

  kind: Literal['classification', 'regression']
  num_outputs: int

  def __post_init__(self):
    errors.check_choice('task', self.kind, ('classification', 'regression'))


class Examples(NamedTuple):
  """Rows of a data set, ready for a model."""

  x: np.ndarray  # [n, *input_shape] float32, normalized
  y: np.ndarray  # [n] int32 classes, or [n, num_outputs] float32 targets
  id: np.ndarray  # [n] int64 or str
  owner: np.ndarray  # [n] int64 or str


class Batch(NamedTuple):
  """What one training step sees. Rows of weight 0 are padding."""

  x: Array  # [batch, *input_shape] float32
  # [batch] int32 or [batch, num_outputs] float32; an objective of its own may
  # want more to each row: a tree of arrays [batch, ...].
  y: Any
  weight: Array  # [batch] float32
  id: Array  # [batch, 2] uint32: `keys.id_words` of the example's id


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
  """Examples with the ids the user gave them.

  Ids are never assigned by position, and an example that has no owner is its
  own owner. `normalization` is public: it is declared, never computed from the
  rows, so deleting a row cannot move another one.
  """

  name: str
  task: Task
  ids: np.ndarray  # [n] int64 or str, unique
  owners: np.ndarray  # [n] int64 or str
  labels: np.ndarray  # [n] int32, or [n, num_outputs] float32
  read: Callable[[np.ndarray], np.ndarray]  # positions -> inputs as stored
  input_shape: tuple[int, ...]
  mean: np.ndarray  # broadcasts against an input
  std: np.ndarray

  def __len__(self) -> int:
    return len(self.ids)

  def take(self, positions: Array) -> Examples:
    """The examples at `positions`, inputs normalized."""
    positions = self._checked(positions)
    return Examples(
      self.normalize(self.read(positions)),
      self.labels[positions],
      self.ids[positions],
      self.owners[positions],
    )

  def normalize(self, x: np.ndarray) -> np.ndarray:
    """Inputs as stored, [n, *input_shape], as a model takes them.

    In NumPy, and not inside a compiled program: a compiler may fuse it
    differently in two programs and move a bit.
    """
    # As float32 whatever type the constants came in, so that the bits do not
    # depend on it.
    mean, std = np.float32(self.mean), np.float32(self.std)
    return (x.astype(np.float32) - mean) / std

  def all(self) -> Examples:
    """Every example, in the order of the file."""
    return self.take(np.arange(len(self)))

  def subset(self, positions: Array) -> 'Dataset':
    """The data set that holds only `positions`, in this order."""
    positions = self._checked(positions)
    return dataclasses.replace(
      self,
      ids=self.ids[positions],
      owners=self.owners[positions],
      labels=self.labels[positions],
      read=_select(self.read, positions),
    )

  def positions_of(self, ids: Array) -> np.ndarray:
    """Where `ids` stand; raises `UnknownId` naming the ones that do not."""
    if len(self) == 0 and len(ids):
      raise errors.UnknownId(f'{self.name} is empty, asked for {list(ids)[:5]}')
    order = np.argsort(self.ids, kind='stable')
    ids = np.asarray(ids, self.ids.dtype if len(ids) == 0 else None)
    if ids.dtype.kind != self.ids.dtype.kind:
      raise errors.UnknownId(
        f'ids of {self.name} are {self.ids.dtype}, got {ids.dtype}: '
        f'{ids[:5].tolist()}'
      )
    at = np.searchsorted(self.ids, ids, sorter=order)
    found = order[np.minimum(at, len(order) - 1)]
    missing = ids[self.ids[found] != ids]
    if missing.size:
      raise errors.UnknownId(
        f'{missing.size} id(s) are not in {self.name}: {missing[:5].tolist()}'
      )
    return found

  def content_digests(self, positions: Array | None = None) -> np.ndarray:
    """SHA-256 of each example as stored: input, label, their types, shapes.

    Returns: [n, 32] uint8.
    """
    if positions is None:
      positions = np.arange(len(self))
    positions = self._checked(positions)
    digests = np.empty((len(positions), 32), np.uint8)
    for start in range(0, len(positions), 4096):  # bounds what is read at once
      chosen = positions[start : start + 4096]
      x = np.ascontiguousarray(self.read(chosen))
      y = np.ascontiguousarray(self.labels[chosen])
      prefix = hashlib.sha256(
        f'{x.dtype.str}{x.shape[1:]}|{y.dtype.str}{y.shape[1:]}|'.encode()
      )
      for row in range(len(chosen)):
        h = prefix.copy()
        h.update(x[row].tobytes())
        h.update(y[row].tobytes())
        digests[start + row] = np.frombuffer(h.digest(), np.uint8)
    return digests

  def _checked(self, positions: Array) -> np.ndarray:
    """Positions as int64. NumPy would take a mask for the rows 0 and 1, cut
    fractions off, and count negative ones from the end."""
    positions = np.asarray(positions)
    if not positions.size:
      return np.zeros(0, np.int64)  # An empty list is one of floats.
    if positions.dtype.kind not in 'iu' or positions.ndim != 1:
      raise errors.UnknownPosition(
        f'positions are integers of shape [n], got {positions.dtype} '
        f'{list(positions.shape)}; np.flatnonzero makes them of a mask'
      )
    wrong = positions[(positions < 0) | (positions >= len(self))]
    if wrong.size:
      raise errors.UnknownPosition(
        f'{self.name} has the rows 0..{len(self) - 1}, asked for '
        f'{wrong[:5].tolist()}'
      )
    return positions.astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class _Selected:
  """Reads rows through the positions of a subset."""

  read: Callable[[np.ndarray], np.ndarray]
  positions: np.ndarray

  def __call__(self, chosen: np.ndarray) -> np.ndarray:
    return self.read(self.positions[chosen])


def _select(read, positions: np.ndarray) -> _Selected:
  """A subset of a subset reads straight from the first reader: chains would
  get slower and deeper with every step, and keep what they came from alive."""
  if isinstance(read, _Selected):
    return _Selected(read.read, read.positions[positions])
  return _Selected(read, positions)


class Forward(NamedTuple):
  """All that a model says about a batch."""

  logits: Array  # [batch, num_outputs]; the predictions of a regression
  features: Array  # [batch, d], what the last layer sees
  stats: Params | None = None  # the new 'stats', for models that keep some


def not_stats(path: str) -> bool:
  """Everything but statistics, which the forward pass updates."""
  return not path.startswith('stats/')


class Blocks(NamedTuple):
  """Parts of a model that are trained one after another and switched off."""

  count: int
  trainable: Callable[[int], Callable[[str], bool]]  # block (from 1) -> paths
  at_depth: Callable[[Params, Any], Params]  # only blocks 1..k active
  begin: Callable[[Params, int], Params]  # ready to train block k


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Model:
  """Two pure functions. What builds them (Flax or not) stays in their file.

  `init(key, x) -> params` and
  `forward(params, x, *, key=None, train=False, weight=None) -> Forward`;
  `apply` is the same call for those who only want the logits. `key` feeds
  dropout: one key, or one per row so that an example keeps its own randomness
  wherever it stands. `weight` matters only to layers that look across the
  batch: rows of weight 0 leave no trace in them. `trainable` says which paths
  of the parameters a fit may move.
  """

  init: Callable[..., Params]
  forward: Callable[..., Forward]
  trainable: Callable[[str], bool] = not_stats
  blocks: Blocks | None = None

  def apply(
    self,
    params: Params,
    x: Array,
    *,
    key: jax.Array | None = None,
    train: bool = False,
    weight: Array | None = None,
  ) -> Array:
    """Logits [batch, num_outputs] of inputs `x` [batch, *input_shape]."""
    return self.forward(params, x, key=key, train=train, weight=weight).logits

  def features(self, params: Params, x: Array) -> Array:
    """What the last layer sees, [batch, d], in evaluation mode."""
    return self.forward(params, x).features
