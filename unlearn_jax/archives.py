"""Arrays in .npz files that others have made, any of which may be damaged."""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from unlearn_jax import errors

_DAMAGE = (
  OSError,
  ValueError,  # among them: arrays of objects, which would need pickle
  EOFError,
  zipfile.BadZipFile,
  zlib.error,
  NotImplementedError,  # compressed in a way that Python does not know
  RuntimeError,  # encrypted
)


@contextlib.contextmanager
def npz(
  path: str | os.PathLike, error: type[Exception] = errors.DataError
) -> Iterator[np.lib.npyio.NpzFile]:
  """The archive at `path`; whatever is wrong with it is an `error` of its name.

  Arrays are read when they are asked for, so that belongs inside too.
  """
  try:
    with open(path, 'rb') as file:  # np.load leaves a damaged one open
      archive = np.load(file, allow_pickle=False)
      if isinstance(archive, np.ndarray):
        raise ValueError('it is one array, not several')
      yield archive
  except FileNotFoundError as missing:
    raise errors.DataNotFound(f'there is no file {path}') from missing
  except _DAMAGE as found:
    raise error(f'{path} cannot be read as .npz: {found}') from found
