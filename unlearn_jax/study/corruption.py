"""Data that somebody has tampered with, and what of it is known.

The corrective setting (Goel et al., 2024): a set of rows is manipulated, only a
part of them is found, and a model is to be healed of all. Which rows these are
is drawn by keyed hash of the ids, so that no other row moves them.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from unlearn_jax import errors, keys, registry, types


class Corrupted(NamedTuple):
  """Tampered data, with sorted positions of rows."""

  data: types.Dataset
  manipulated: np.ndarray
  known: np.ndarray  # those of them that were found


class Patch(NamedTuple):
  """A square that is put into the lower right corner of an image.

  Attributes:
    value: as stored, before any normalization: a number, or what broadcasts to
      [size, size, channels].
    size: side of the square.
    inset: pixels between it and the borders.
  """

  value: float | np.ndarray
  size: int = 3
  inset: int = 0


def poison(
  data: types.Dataset,
  count: int,
  patch: Patch,
  *,
  target: int = 0,
  known: int | None = None,
  seed: int = 0,
) -> Corrupted:
  """Puts a patch into `count` images of other classes, labels them `target`.

  Args:
    data: images.
    count: of rows that are manipulated.
    patch: what is put into them.
    target: the label they are given.
    known: of them, how many are found; None: all.
    seed: of the draw.
  """
  _check_label(data, target)
  at = _draw(data, np.flatnonzero(data.labels != target), count, seed)
  labels = data.labels.copy()
  labels[at] = target
  data = dataclasses.replace(stamped(data, patch, at), labels=labels)
  return _corrupted(data, at, known, seed)


def swap(
  data: types.Dataset,
  count: int,
  *,
  classes: tuple[int, int] = (3, 5),
  known: int | None = None,
  seed: int = 0,
) -> Corrupted:
  """Gives `count` rows of two classes, half of each, the label of the other.

  Args:
    data: of classes.
    count: of rows that are manipulated, an even number.
    classes: the two.
    known: of them, how many are found; None: all.
    seed: of the draw.
  """
  one, other = classes
  for label in classes:
    _check_label(data, label)
  if one == other or count % 2:
    raise errors.ConfigError(
      f'an even number of rows of two classes is swapped, got {count} of '
      f'{one} and {other}'
    )
  halves = [
    _draw(data, np.flatnonzero(data.labels == label), count // 2, seed)
    for label in classes
  ]
  labels = data.labels.copy()
  labels[halves[0]], labels[halves[1]] = other, one
  data = dataclasses.replace(data, labels=labels)
  return _corrupted(data, np.sort(np.concatenate(halves)), known, seed)


def shuffle_labels(
  data: types.Dataset, count: int, *, known: int | None = None, seed: int = 0
) -> Corrupted:
  """Permutes the labels, or targets, of `count` rows among themselves.

  Some may fall on their like and stay right; they count as manipulated.

  Args:
    data: of any task.
    count: of rows that are manipulated.
    known: of them, how many are found; None: all.
    seed: of the draw.
  """
  at = _draw(data, np.arange(len(data)), count, seed)
  labels = data.labels.copy()
  labels[at] = labels[at[keys.order(data.ids[at], f'permuted labels {seed}')]]
  data = dataclasses.replace(data, labels=labels)
  return _corrupted(data, at, known, seed)


def stamped(
  data: types.Dataset, patch: Patch, positions: np.ndarray | None = None
) -> types.Dataset:
  """`data` with the patch in the images at `positions`, or in all of them.

  Labels stay: the success of an attack is how often a model then errs.
  """
  shape = data.input_shape
  room = min(shape[:2]) if len(shape) == 3 else 0
  if patch.size < 1 or patch.inset < 0 or patch.size + patch.inset > room:
    raise errors.ConfigError(
      f'a patch of {patch.size} pixels, {patch.inset} from the border, does '
      f'not fit into inputs of shape {shape}'
    )
  chosen = np.ones(len(data), bool)
  if positions is not None:
    chosen = np.isin(np.arange(len(data)), positions)
  rows, columns = (
    slice(side - patch.inset - patch.size, side - patch.inset)
    for side in shape[:2]
  )

  def read(at):
    x = np.array(data.read(at))  # a copy: what is stored stays
    x[chosen[at], rows, columns] = patch.value
    return x

  return dataclasses.replace(data, read=read)


KINDS = {'poison': poison, 'swap': swap, 'shuffle_labels': shuffle_labels}
_OF_A_STUDY = ('data', 'seed')  # never settings: who is hit is drawn by it


def named(settings: Mapping[str, Any]) -> dict[str, Any]:
  """`{'kind': ..., 'count': ...}` with more arguments of that kind, all of them.

  What is left out is there by its default, so equal settings are equal harm.
  """
  given = dict(settings)
  kind = given.pop('kind', None)
  errors.check_choice('kind of corruption', kind, tuple(KINDS))
  for name in _OF_A_STUDY:
    if name in given:
      raise errors.ConfigError(f"{name} is the study's, not of a corruption")
  registry.check_arguments(
    KINDS[kind], f'setting of a {kind}', {**given, 'data': None}
  )
  if 'patch' in given:
    registry.check_arguments(Patch, 'setting of a patch', given['patch'])
    given['patch'] = Patch(**given['patch'])._asdict()
  usual = inspect.signature(KINDS[kind]).parameters
  full = {n: given.get(n, p.default) for n, p in usual.items()}
  return {
    'kind': kind,
    **{n: value for n, value in full.items() if n not in _OF_A_STUDY},
  }


def corrupt(
  data: types.Dataset, settings: Mapping[str, Any], seed: int
) -> Corrupted:
  """`data`, tampered with as settings of `named` say."""
  arguments = dict(settings)
  kind = arguments.pop('kind')
  if 'patch' in arguments:
    arguments['patch'] = Patch(**arguments['patch'])
  return KINDS[kind](data, **arguments, seed=seed)


def _draw(data, among: np.ndarray, count: int, seed: int) -> np.ndarray:
  if not 1 <= count <= len(among):
    raise errors.ConfigError(
      f'rows to manipulate are 1..{len(among)}, got {count}'
    )
  order = keys.order(data.ids[among], f'manipulated {seed}')
  return np.sort(among[order[:count]])


def _corrupted(data, at: np.ndarray, known: int | None, seed) -> Corrupted:
  known = len(at) if known is None else known
  if not 1 <= known <= len(at):
    raise errors.ConfigError(
      f'known of {len(at)} manipulated rows are 1..{len(at)}, got {known}'
    )
  found = at[keys.order(data.ids[at], f'known {seed}')[:known]]
  return Corrupted(data, at, np.sort(found))


def _check_label(data: types.Dataset, label: int) -> None:
  if data.task.kind != 'classification':
    raise errors.ConfigError(f'{data.name} has no classes to mislabel')
  if not 0 <= label < data.task.num_outputs:
    raise errors.ConfigError(
      f'labels of {data.name} are 0..{data.task.num_outputs - 1}, got {label}'
    )
