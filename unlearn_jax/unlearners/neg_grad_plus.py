"""Climbs the loss of what goes and descends that of what stays, together.

After Kurmanji et al. (NeurIPS 2023). What goes is gone through as often as it
takes to see all that stays, and moves no statistics of layers.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import step, trees
from unlearn_jax.unlearners import _door, _passes

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1), 'balance': (0.5, 1.0)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 0.01,
  momentum: float = 0.9,
  balance: float = 0.95,
  anchor: float = 0.0,
  epochs: int = 10,
  batch_size: int = 64,
):
  """A step sees as many rows of what goes as of what stays.

  Args:
    learning_rate: of SGD, without decay.
    momentum: of SGD.
    balance: weight of what stays; 1 minus this is that of what goes. The
      published values are near 0.95, and always tuned.
    anchor: weight of the squared distance to the model as it was.
    epochs: passes over what stays.
    batch_size: rows of each kind in a step.
  """
  descent = _passes.moving(model, data.loss, data)
  ascent = _passes.still(model, data.loss)

  def objective(now, batch, row_keys):
    stays, goes = _passes.split(batch, batch_size)
    for_stays, for_goes = _passes.split(row_keys, batch_size)
    kept = descent(now, stays, for_stays)
    lost = ascent(now, goes, for_goes)
    near = kept.loss + anchor * _distance(model, now, params)
    return step.Objective(
      balance * near - (1.0 - balance) * lost.loss, kept.stats
    )

  return _passes.descend(
    _passes.trainer(model, data, _passes.sgd(learning_rate, momentum)),
    params,
    data.retain,
    objective,
    key,
    epochs=epochs,
    batch_size=batch_size,
    beside=data.forget,
  )


def _distance(model, now, before):
  """The squared distance of what trains."""
  (now, _), (before, _) = (
    trees.partition(tree, model.trainable) for tree in (now, before)
  )
  squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), now, before)
  return sum(squares.values())


make = _door.door(unlearn, READS)
