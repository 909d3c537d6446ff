"""Lasso of many targets at once, on the normal equations.

  min (1/2) w'Gw - c'w + lam |w|_1     for every column of c

by accelerated proximal gradient steps (FISTA) whose momentum starts over, for
a target alone, when it points uphill: one matrix product a step serves every
target.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from scipy import linalg

# In units where columns and targets have variance 1: a few roundings.
_TOLERANCE = 2e-6
_MAX_STEPS = 3000


class _State(NamedTuple):
  w: jax.Array  # [n, t]
  ahead: jax.Array  # [n, t] w with momentum, where the gradient is taken
  pace: jax.Array  # [t] the t of FISTA
  step: jax.Array
  gap: jax.Array  # largest gradient of the proximal problem


class Problem:
  """G, ready for many calls; blocks of targets have one width, `width`."""

  def __init__(self, gram: np.ndarray, width: int):
    top = len(gram) - 1
    largest = linalg.eigvalsh(gram, subset_by_index=(top, top))[0]
    self._gram = jnp.asarray(gram, jnp.float32)
    self._rate = jnp.float32(1 / (largest * (1 + 1e-5)))
    self.width = width

  def solve(self, cross, penalty, start=None) -> np.ndarray:
    """Weights [n, t] of targets with c `cross` [n, t], lam `penalty` [t]."""
    targets = cross.shape[1]
    start = np.zeros_like(cross) if start is None else start
    pad = ((0, 0), (0, self.width - targets))  # one shape: compiled once
    state = _descend(
      self._gram,
      jnp.asarray(np.pad(cross, pad), jnp.float32),
      jnp.asarray(np.pad(penalty, pad[1]), jnp.float32),
      jnp.asarray(np.pad(start, pad), jnp.float32),
      self._rate,
    )
    if not state.gap <= _TOLERANCE:
      logging.warning(
        'lasso stopped at gradient %.1e after %d steps, smallest penalty %.1e',
        state.gap,
        state.step,
        np.min(penalty),
      )
    return np.asarray(state.w, np.float64)[:, :targets]


@jax.jit
def _descend(gram, cross, penalty, start, rate) -> _State:
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

  def unfinished(state):
    return (state.gap > _TOLERANCE) & (state.step < _MAX_STEPS)

  def forward(state):
    moved = state.ahead - rate * (product(gram, state.ahead) - cross)
    threshold = (rate * penalty)[None]
    w = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - threshold, 0)
    uphill = jnp.sum((state.ahead - w) * (w - state.w), axis=0) > 0
    pace = (1 + jnp.sqrt(1 + 4 * state.pace**2)) / 2
    carry = jnp.where(uphill, 0.0, (state.pace - 1) / pace)
    ahead = w + carry[None] * (w - state.w)
    gap = jnp.max(jnp.abs(w - state.ahead)) / rate
    pace = jnp.where(uphill, 1.0, pace)
    return _State(w, ahead, pace, state.step + 1, gap)

  pace = jnp.ones_like(penalty)
  start = _State(start, start, pace, jnp.int32(0), jnp.float32(jnp.inf))
  return jax.lax.while_loop(unfinished, forward, start)
