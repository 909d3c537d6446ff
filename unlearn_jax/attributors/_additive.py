"""Attributions in which every example has its own effect."""

import numpy as np

from unlearn_jax import errors
from unlearn_jax.attributors import _words


def additive(of: str, scores: np.ndarray) -> _words.Attribution:
  """The attribution whose shifts are minus the sum of `scores` over F."""

  def shift(forgotten):
    return -scores[positions(forgotten, len(scores))].sum(axis=0)

  return _words.Attribution(of, shift, scores)


def positions(forgotten, n: int) -> np.ndarray:
  """Positions of F among `n` examples; a mask or a repeated one is refused."""
  forgotten = np.asarray(forgotten)
  if not forgotten.size:
    return np.zeros(0, np.int64)  # An empty list is one of floats.
  whole = forgotten.dtype.kind in 'iu' and forgotten.ndim == 1
  if not whole or forgotten.min() < 0 or forgotten.max() >= n:
    raise errors.UnknownPosition(
      f'what to forget are positions 0..{n - 1}, integers of shape [count], '
      f'got {forgotten.dtype} {forgotten.reshape(-1)[:5].tolist()}'
    )
  if len(np.unique(forgotten)) < len(forgotten):
    raise errors.UnknownPosition('an example can be forgotten only once')
  return forgotten.astype(np.int64)
