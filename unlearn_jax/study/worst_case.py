"""The forget set that is hardest to forget, found and not drawn.

A bi-level problem (Fan et al., 2024): which rows does a model still fit after
fine-tuning without them? Each row has a weight in [0, 1], and the weights sum
to the size of the set. In turn models forget as the weights say, by a few
passes of sign descent whose derivative by the weights is 0, and the weights
move to the rows whose loss stayed small.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
import optax

from unlearn_jax import errors, keys, losses, step, types
from unlearn_jax.fleet import fleet as fleet_lib

_BISECTIONS = 100  # more than a float64 has bits: the interval is then a point


class Found(NamedTuple):
  """A forget set, and the weights it was rounded from."""

  positions: np.ndarray  # sorted
  weights: np.ndarray  # [rows] in [0, 1], their sum is the size of the set
  losses: np.ndarray  # [rounds, rows] after each forgetting


def worst_case(
  model: types.Model,
  params: types.Params,
  data: types.Dataset,
  size: int,
  *,
  easiest: bool = False,
  rounds: int = 2,
  passes: int = 2,
  learning_rate: float = 1e-3,
  weight_rate: float = 0.01,
  penalty: float = 0.0,
  batch_size: int = 256,
  seed: int = 0,
  width: int = 4,
) -> Found:
  """The hardest set of `size` rows for models trained on all of `data`.

  Args:
    model: of all of them.
    params: of one model or more side by side, leaves [models, ...]; a row's
      loss is the mean over them.
    data: what they were trained on.
    size: of the set.
    easiest: whether the other end is looked for.
    rounds: of forgetting and weighing; each forgets from `params`.
    passes: over the data in a forgetting.
    learning_rate: of sign descent.
    weight_rate: of the weights.
    penalty: times their squares is added to what they minimize.
    batch_size: of the passes.
    seed: of their orders.
    width: models that share an operation.
  """
  if not 1 <= size < len(data):
    raise errors.ConfigError(
      f'the size of a forget set is 1..{len(data) - 1}, got {size}'
    )
  counts = {'rounds': rounds, 'passes': passes, 'batch_size': batch_size}
  for name, count in counts.items():
    if count < 1:
      raise errors.ConfigError(f'{name} is at least 1, got {count}')
  run = _forgetting(model, data.task, passes, batch_size, width)
  x, y, ids, _ = data.all()
  table = step.Table(x, y, keys.id_words(ids))
  indices = np.arange(len(jax.tree.leaves(params)[0]), dtype=np.uint32)
  weights = np.full(len(data), size / len(data))
  sign, seen = (-1.0 if easiest else 1.0), []
  for number in range(rounds):
    shared = (
      table,
      (1 - weights).astype(np.float32),
      np.float32(learning_rate),
      keys.stream(keys.root(seed), 'worst case', number),
    )
    left = np.asarray(run(shared, (indices, params))).mean(axis=0, dtype=float)
    if not np.isfinite(left).all():
      raise errors.TrainingDiverged(
        f'{np.sum(~np.isfinite(left))} losses after forgetting are not finite'
      )
    seen.append(left)
    slope = sign * left + 2 * penalty * weights
    weights = project(weights - weight_rate * slope, size)
  order = np.argsort(-weights, kind='stable')
  return Found(np.sort(order[:size]), weights, np.stack(seen))


def project(point: np.ndarray, total: float) -> np.ndarray:
  """The nearest point of {w in [0, 1]^n, sum w = total}.

  It is `point` less a shift, clipped; the shift is found by bisection, in
  float64, where the sum is right to a millionth for any number of rows here.
  """
  point = np.asarray(point, np.float64)
  if not 0 <= total <= len(point):
    raise errors.ConfigError(
      f'weights of {len(point)} rows sum to 0..{len(point)}, not to {total}'
    )
  low, high = point.min() - 1, point.max()
  for _ in range(_BISECTIONS):
    middle = (low + high) / 2
    if np.clip(point - middle, 0, 1).sum() > total:
      low = middle
    else:
      high = middle
  return np.clip(point - (low + high) / 2, 0, 1)


@functools.lru_cache(maxsize=16)
def _forgetting(model, task, passes: int, batch_size: int, width: int):
  """Losses of all rows [models, rows] after each model forgot by weights."""
  loss = losses.of_task(task)

  def one(shared, index, params):
    table, seen, learning_rate, key = shared
    optimizer = optax.sign_sgd(learning_rate)
    one_step = step.make_step(
      step.supervised(model, loss), optimizer, trainable=model.trainable
    )
    state = fleet_lib.epochs(
      one_step,
      step.init_state(params, optimizer, model.trainable),
      table,
      keys.stream(key, 'model', index),
      epochs=passes,
      batch_size=batch_size,
      seen=seen,
    )

    def of_row(row):
      x, y = row
      return loss(model.apply(state.params, x[None]), y[None])[0]

    return jax.lax.map(of_row, (table.x, table.y), batch_size=256)

  return fleet_lib.spread(one, width)
