"""What comes with a request from outside: ids as text, arrays as .npz.

All of it is checked here, against the data set of the system it is meant for,
before anything is done with it.
"""

import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from unlearn_jax import archives, errors, registry, types
from unlearn_jax.data import _checks

_INTEGER = re.compile(r'[+-]?[0-9]+')
_INT64 = np.iinfo(np.int64)


def names(
  texts: Sequence[str], like: np.ndarray, *, what: str = 'id'
) -> list[int | str]:
  """Ids or owners given as text, of the type that `like` holds.

  Whole numbers where `like` has numbers, else the texts as they are; one that
  is neither refuses them all, by name.
  """
  to_name = _parser(like)
  found, wrong = [], []
  for text in texts:
    try:
      found.append(to_name(text))
    except ValueError:
      wrong.append(text)
  if wrong:
    raise errors.UnknownId(
      f'{what}s of this system are {_kind(like)}, got {wrong[:5]}'
    )
  return found


def names_of_file(
  path: str, like: np.ndarray, *, what: str = 'id'
) -> list[int | str]:
  """The same from a file, one a line; a bad line refuses it, by number."""
  try:
    content = pathlib.Path(path).read_bytes()
  except FileNotFoundError as error:
    raise errors.DataNotFound(f'there is no file {path}') from error
  to_name = _parser(like)
  lines = content.removesuffix(b'\n').split(b'\n') if content else []
  found = []
  for number, line in enumerate(lines, start=1):
    line = line.removesuffix(b'\r')
    try:
      text = line.decode()
      if not text.isprintable():
        raise ValueError(text)
      found.append(to_name(text))
    except ValueError as error:  # bytes that are no text among them
      raise errors.DataError(
        f'{path}, line {number}: {what}s of this system are {_kind(like)}, '
        f'one a line, got {line[:80]!r}'
      ) from error
  return found


def read_inputs(path: str, data: types.Dataset) -> np.ndarray:
  """The array `x` of an .npz; refused unless it is like the stored inputs."""
  with archives.npz(path) as archive:
    present = archive.files
    x = archive['x'] if 'x' in present else None
  if x is None:
    raise errors.DataError(f'{path} has no array x; it has {sorted(present)}')
  _checks.check_inputs(x, where=path)
  _refuse_other_shape(path, x.shape[1:], data)
  stored = _stored_type(data)
  if not np.can_cast(x.dtype, stored, 'same_kind'):
    raise errors.DataError(
      f'{path}: x is {x.dtype}, {data.name} stores {stored}; inputs are given '
      'as stored, before normalization'
    )
  return x


def read_clean(path: str, data: types.Dataset) -> types.Dataset:
  """An .npz of x, y, id and maybe owner, as an audit of `data` takes it.

  Task, mean and std are those that the system has declared, and a file cannot
  say otherwise. Other shapes or types are refused: no example could be the
  same.
  """
  task = data.task
  classes = task.num_outputs if task.kind == 'classification' else None
  clean = registry.make(
    'data',
    'npz',
    file=path,
    task=task.kind,
    num_classes=classes,
    mean=np.asarray(data.mean).tolist(),
    std=np.asarray(data.std).tolist(),
  )
  _refuse_other_shape(path, clean.input_shape, data)
  if clean.task != task:
    raise errors.DataError(f'{path}: targets are {clean.task}, not {task}')
  if clean.ids.dtype.kind != data.ids.dtype.kind:
    raise errors.DataError(
      f'{path}: ids of {data.name} are {_kind(data.ids)}, got {clean.ids.dtype}'
    )
  if _stored_type(clean) != _stored_type(data):
    raise errors.DataError(
      f'{path}: x is {_stored_type(clean)}, {data.name} stores '
      f'{_stored_type(data)}'
    )
  return clean


def _parser(like: np.ndarray) -> Callable[[str], int | str]:
  def to_text(text):
    if not text:
      raise ValueError(text)
    return text

  def to_integer(text):
    text = text.strip()
    # Stricter than int(), which takes 1_0 and the digits of any script.
    if not _INTEGER.fullmatch(text):
      raise ValueError(text)
    if not _INT64.min <= int(text) <= _INT64.max:
      raise ValueError(text)
    return int(text)

  return to_text if like.dtype.kind == 'U' else to_integer


def _kind(like: np.ndarray) -> str:
  return 'texts' if like.dtype.kind == 'U' else 'whole numbers'


def _refuse_other_shape(path, shape, data: types.Dataset) -> None:
  if tuple(shape) != tuple(data.input_shape):
    raise errors.DataError(
      f'{path}: an input has shape {list(shape)}, those of {data.name} have '
      f'{list(data.input_shape)}'
    )


def _stored_type(data: types.Dataset) -> np.dtype:
  return data.read(np.arange(min(1, len(data)))).dtype
