"""What a linear regression on masks needs to know, summed model by model.

Many models are trained, each on the examples of its mask, and every output of
every model would fill a disk. Sums are enough: of masks z, outputs y, zz', zy'
and y^2. They may be added in chunks of any size, merged in any order, and they
judge weights on held-out models too, without one stored output.

Everything is on the host in float64, but for zz': it counts models, whole
numbers that float32 holds exactly up to 2^24. Outputs are shifted by a pilot
mean before they are summed, so that a large mean does not eat the digits.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from unlearn_jax import errors

_MOST = 2**24  # float32 counts exactly up to here
_BLOCK = 4096  # targets at a time, which bounds temporary memory
_ARRAYS = ('sum_z', 'sum_y', 'zz', 'zy', 'yy', 'pilot')


class Moments:
  """Sums over models. Targets of any shape are one axis, [t], inside."""

  def __init__(self, n: int, shape: tuple[int, ...]):
    self.n, self.shape = int(n), tuple(map(int, shape))
    self.targets = int(np.prod(self.shape))
    if self.n < 1 or self.targets < 1:
      raise errors.DataError(
        f'moments of {n} examples and targets {list(shape)}: nothing to sum'
      )
    self.count = 0
    self.sum_z = np.zeros(self.n)
    self.sum_y = np.zeros(self.targets)  # of y - pilot, as are zy and yy
    self.zz = np.zeros((self.n, self.n), np.float32)
    self.zy = np.zeros((self.n, self.targets))
    self.yy = np.zeros(self.targets)
    self.pilot = np.zeros(self.targets)

  @classmethod
  def of(cls, masks, outputs, *, chunk: int = 1024) -> 'Moments':
    """The moments of stored models: masks [m, n], outputs [m, ...targets]."""
    masks, outputs = np.asarray(masks), np.asarray(outputs)
    if masks.ndim != 2 or outputs.ndim < 2 or len(masks) != len(outputs):
      raise errors.DataError(
        f'masks are [m, n] and outputs [m, ...targets], '
        f'got {list(masks.shape)} and {list(outputs.shape)}'
      )
    result = cls(masks.shape[1], outputs.shape[1:])
    for start in range(0, len(masks), chunk):
      rows = slice(start, start + chunk)
      result.add(masks[rows], outputs[rows])
    return result

  def add(self, masks, outputs) -> None:
    """Counts k more models: masks [k, n] of 0 and 1, outputs [k, ...targets].

    Refused as a whole, with nothing counted, if anything about it is wrong.
    """
    z, y = self._checked(np.asarray(masks), np.asarray(outputs))
    if not len(z):
      return
    if not self.count:
      self.pilot = np.mean(y, axis=0, dtype=np.float64)
    counts = z.astype(np.float32)
    self.zz += counts.T @ counts  # sums of 0 and 1: exact in any order
    z = z.astype(np.float64)
    for block in self.blocks():
      gap = y[:, block].astype(np.float64) - self.pilot[block]
      self.sum_y[block] += gap.sum(axis=0)
      self.yy[block] += np.einsum('kt,kt->t', gap, gap)
      self.zy[:, block] += z.T @ gap
    self.sum_z += z.sum(axis=0)
    self.count += len(z)

  def merge(self, other: 'Moments') -> None:
    """Counts the models of `other` too; no model may be in both."""
    if (self.n, self.shape) != (other.n, other.shape):
      raise errors.DataError(
        f'cannot merge moments of {other.n} examples, targets '
        f'{list(other.shape)}, into {self.n}, {list(self.shape)}'
      )
    self._check_room(other.count)
    if not self.count:
      self.pilot = other.pilot.copy()
    for block in self.blocks():
      # y - mine = (y - theirs) + move
      move = other.pilot[block] - self.pilot[block]
      self.zy[:, block] += other.zy[:, block] + np.outer(other.sum_z, move)
      self.yy[block] += other.yy[block] + move * (
        2 * other.sum_y[block] + other.count * move
      )
      self.sum_y[block] += other.sum_y[block] + other.count * move
    self.zz += other.zz
    self.sum_z += other.sum_z
    self.count += other.count

  def state(self) -> dict[str, np.ndarray]:
    """Everything, as arrays to store; `restore` takes it back."""
    arrays = {name: getattr(self, name) for name in _ARRAYS}
    return arrays | {
      'count': np.int64(self.count),
      'shape': np.asarray(self.shape, np.int64),
    }

  @classmethod
  def restore(cls, state: Mapping[str, np.ndarray]) -> 'Moments':
    """Moments with a copy of what `state` holds."""
    wanted = {*_ARRAYS, 'count', 'shape'}
    if set(state) != wanted:
      raise errors.DataError(
        f'stored moments hold {sorted(wanted)}, got {sorted(state)}'
      )
    result = cls(len(state['sum_z']), tuple(np.asarray(state['shape'])))
    for name in _ARRAYS:
      mine, found = getattr(result, name), np.asarray(state[name])
      if found.shape != mine.shape or not np.isfinite(found).all():
        raise errors.DataError(
          f'stored {name} is finite, {list(mine.shape)}; '
          f'got {list(found.shape)} or numbers that are not'
        )
      setattr(result, name, found.astype(mine.dtype))
    result.count = int(state['count'])
    return result

  def blocks(self, width: int = _BLOCK) -> Iterator[slice]:
    """Slices of the targets."""
    for start in range(0, self.targets, width):
      yield slice(start, min(start + width, self.targets))

  @property
  def alpha(self) -> np.ndarray:
    """How often each example was trained on, [n]."""
    return self.sum_z / self.count

  @property
  def mean(self) -> np.ndarray:
    """Mean output, [t]."""
    return self.pilot + self.sum_y / self.count

  def gram(self) -> np.ndarray:
    """Zc'Zc of masks centred by their means, [n, n]."""
    gram = self.zz.astype(np.float64)
    gram -= np.outer(self.sum_z, self.alpha)
    return gram

  def cross(self, block: slice) -> np.ndarray:
    """Zc'Yc, [n, block]."""
    return self.zy[:, block] - np.outer(self.alpha, self.sum_y[block])

  def variation(self, block: slice = slice(None)) -> np.ndarray:
    """Sum of squares of centred outputs, [block]."""
    total = self.yy[block] - self.sum_y[block] ** 2 / self.count
    return np.maximum(total, 0.0)

  def products(self, weights, block: slice) -> tuple[np.ndarray, np.ndarray]:
    """Of p = Zc w [n, block] with itself, and with Yc: both [block]."""
    # Zc'Zc w without a second [n, n] beside zz.
    fit = self.zz @ weights - np.outer(self.sum_z, self.alpha @ weights)
    return (
      np.einsum('nt,nt->t', weights, fit),
      np.einsum('nt,nt->t', weights, self.cross(block)),
    )

  def error(self, weights, intercept, block: slice) -> np.ndarray:
    """Sum over models of (y - intercept - z'w)^2, [block]."""
    own, with_y = self.products(weights, block)
    offset = self.mean[block] - intercept - self.alpha @ weights
    spread = self.variation(block) - 2 * with_y + own
    return np.maximum(spread, 0.0) + self.count * offset**2

  def _check_room(self, more: int) -> None:
    if self.count + more >= _MOST:
      raise errors.DataError(
        f'{self.count} + {more} models: counts are exact below {_MOST}'
      )

  def _checked(self, z, y) -> tuple[np.ndarray, np.ndarray]:
    if z.ndim != 2 or z.shape[1] != self.n:
      raise errors.DataError(f'masks are [k, {self.n}], got {list(z.shape)}')
    if y.shape != (len(z), *self.shape):
      raise errors.DataError(
        f'outputs are {[len(z), *self.shape]}, got {list(y.shape)}'
      )
    self._check_room(len(z))
    wrong = np.argwhere((z != 0) & (z != 1))
    if len(wrong):
      row, column = wrong[0]
      raise errors.DataError(
        f'masks are 0 or 1, model {row} has {z[row, column]} at {column}'
      )
    y = y.reshape(len(z), self.targets)
    wrong = np.argwhere(~np.isfinite(y))
    if len(wrong):
      row, column = wrong[0]
      raise errors.DataError(
        f'outputs are finite, model {row} has {y[row, column]} at target '
        f'{[int(i) for i in np.unravel_index(column, self.shape)]}'
      )
    return z, y
