"""Support vector machines of one feature, many at once, exactly.

The RBF kernel of a scalar has a rank of about ten whatever the number of
points, so the Newton system of an interior point method costs a matrix of that
size (Fine & Scheinberg, 2001) and twenty steps are enough. Solvers that move
two variables at a time need thousands, stop early where the decision is flat,
and are a hundred times slower at 20,000 points. Neither bins nor single
precision are needed: all of it is float64 on the host, nothing is compiled.

The dual: min b'Kb/2 - y'b over boxes [0, C] of label 1 and [-C, 0] of label
-1, with sum b = 0.
"""

from typing import NamedTuple

import numpy as np

from unlearn_jax import errors

_RANK_ERROR = 1e-9  # of any entry of the kernel
_GAP = 1e-6  # of complementarity and of the gradient, where it is solved
_TIE = 1e-5  # decisions are not known better; a tie is label 1
_STEPS = 200
_BACK = 0.995  # how much of the way to the boundary a step goes
_AT_ONCE = 1 << 16  # points: many small machines in one, large ones alone


class Machine(NamedTuple):
  """The kernel with a few points; positive is label 1. [machines, ...]."""

  points: np.ndarray  # [machines, rank]
  weights: np.ndarray  # [machines, rank]
  bias: np.ndarray  # [machines]


def positive(ones, minus_ones, targets, *, c=3.0, gamma=1.0) -> np.ndarray:
  """[machines, targets] whether machines give `targets` label 1.

  Each learns from its row of `ones` [machines, n] and `minus_ones`
  [machines, m], of labels 1 and -1.
  """
  step = max(1, _AT_ONCE // (ones.shape[1] + minus_ones.shape[1]))
  found = []
  for start in range(0, len(ones), step):
    part = slice(start, start + step)
    machine = fit(ones[part], minus_ones[part], c=c, gamma=gamma)
    found.append(decide(machine, targets[part], gamma=gamma) > -_TIE)
  return np.concatenate(found)


def fit(ones, minus_ones, *, c=3.0, gamma=1.0) -> Machine:
  """The machines of `ones` [machines, n] against `minus_ones`."""
  x = np.concatenate([ones, minus_ones], axis=1, dtype=np.float64)
  y = np.repeat([1.0, -1.0], [ones.shape[1], minus_ones.shape[1]])
  features, pivots = _low_rank(x, gamma)
  beta, bias = _solve(features, y, c)
  corner = np.take_along_axis(features, pivots[..., None], axis=1)
  # A machine of less rank than the others has columns of zeros.
  spare = np.einsum('mrr->mr', corner) == 0
  np.einsum('mrr->mr', corner)[spare] = 1
  inner = np.swapaxes(features, 1, 2) @ beta[..., None]
  weights = np.linalg.solve(np.swapaxes(corner, 1, 2), inner)[..., 0]
  points = np.take_along_axis(x, pivots, axis=1)
  return Machine(points, weights, bias)


def decide(machine: Machine, targets, *, gamma=1.0) -> np.ndarray:
  """The decisions at `targets` [machines, n]."""
  total = np.zeros(np.shape(targets)) + machine.bias[:, None]
  for point, weight in zip(machine.points.T, machine.weights.T, strict=True):
    total += weight[:, None] * _kernel(targets, point[:, None], gamma)
  return total


def _kernel(a, b, gamma):
  return np.exp(-gamma * (a - b) ** 2)


def _low_rank(x, gamma):
  """Features whose products are the kernel, and the points they come from.

  Cholesky with pivots: each column is of the point that is still worst.
  """
  machines = np.arange(len(x))
  left = np.ones_like(x)  # of the diagonal
  columns, pivots = [], []
  while left.max() > _RANK_ERROR:
    worst = left.argmax(axis=1)
    column = _kernel(x, x[machines, worst, None], gamma)
    for other in columns:
      column -= other * other[machines, worst, None]
    size = left[machines, worst, None]
    column = np.where(
      size > _RANK_ERROR, column / np.sqrt(np.maximum(size, _RANK_ERROR)), 0
    )
    left = np.maximum(left - column**2, 0)
    left[machines, worst] = 0
    columns.append(column)
    pivots.append(worst)
  return np.stack(columns, axis=2), np.stack(pivots, axis=1)


class _State(NamedTuple):
  """A point inside the boxes; the multipliers of both bounds are positive."""

  beta: np.ndarray  # [machines, n] dual variables
  bias: np.ndarray  # [machines, 1]
  down: np.ndarray  # [machines, n]
  up: np.ndarray  # [machines, n]


def _solve(features, y, c):
  """Dual variables and bias, by predictor and corrector (Mehrotra, 1992)."""
  low, high = np.minimum(c * y, 0), np.maximum(c * y, 0)
  shape = features.shape[:2]
  state = _State(
    beta=np.broadcast_to(c * y / 2, shape),
    bias=np.zeros((shape[0], 1)),
    down=np.ones(shape),
    up=np.ones(shape),
  )
  for _ in range(_STEPS):
    beta, bias, down, up = state
    below, above = beta - low, high - beta
    inner = np.swapaxes(features, 1, 2) @ beta[..., None]
    slope = y - (features @ inner)[..., 0] - bias + down - up
    gap = (down * below + up * above).mean(axis=1, keepdims=True) / 2
    left = np.maximum(gap, np.abs(slope).max(axis=1, keepdims=True)) >= _GAP
    if not left.any():
      return beta, bias[:, 0]
    then = _stepped(state, features, below, above, slope, gap)
    # Who is done waits: closer to its bounds it would divide by 0.
    state = _State(
      *(np.where(left, b, a) for a, b in zip(state, then, strict=True))
    )
  raise errors.DataError(
    f'support vector machines of {len(y)} points are not solved in {_STEPS} '
    'steps'
  )


def _stepped(state: _State, features, below, above, slope, gap) -> _State:
  """One step; it may start where the sum of `beta` is not 0."""
  beta, _, down, up = state
  transposed = np.swapaxes(features, 1, 2)
  # (K + 1 / scale)^-1 through a matrix as small as the rank of K.
  scale = 1 / (down / below + up / above)
  small = transposed @ (features * scale[..., None])
  small += np.eye(features.shape[2])

  def inverse(v):
    v = scale * v
    inner = np.linalg.solve(small, transposed @ v[..., None])
    return v - scale * (features @ inner)[..., 0]

  ones = inverse(np.ones_like(beta))

  def total(v):
    return v.sum(axis=1, keepdims=True)

  def direction(wanted_down, wanted_up):
    first, second = wanted_down / below - down, wanted_up / above - up
    free = inverse(slope + first - second)
    move = (total(free) + total(beta)) / total(ones)
    step = free - move * ones
    return _State(
      step, move, first - down / below * step, second + up / above * step
    )

  def reach(by: _State):
    """The part of a step that stays inside, for each machine."""
    ratios = (-by.beta / below, by.beta / above, -by.down / down, -by.up / up)
    most = np.max([r.max(axis=1, keepdims=True) for r in ratios], axis=0)
    return np.minimum(1, _BACK / np.maximum(most, _BACK))

  by = direction(0.0, 0.0)
  far = reach(by)
  ahead = (down + far * by.down) * (below + far * by.beta)
  ahead += (up + far * by.up) * (above - far * by.beta)
  center = (ahead.mean(axis=1, keepdims=True) / 2 / gap) ** 3 * gap
  by = direction(center - by.beta * by.down, center + by.beta * by.up)
  far = reach(by)
  return _State(*(x + far * d for x, d in zip(state, by, strict=True)))
