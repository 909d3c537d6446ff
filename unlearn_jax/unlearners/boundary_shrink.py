"""Gives what goes to the class that lies nearest to it.

After Chen et al. (CVPR 2023). The nearest class is the answer to the input
after one step of an attack, true class excluded: the published code takes the
largest answer as it is, so that where the attack fails the model is trained on
what it should forget. What stays is never seen, so statistics of layers do not
move.
"""

import jax
import jax.numpy as jnp

from unlearn_jax.unlearners import _door, _passes

READS = ('forget.x', 'forget.y')
TUNED = {'learning_rate': (1e-6, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  distance: float = 0.1,
  learning_rate: float = 1e-5,
  momentum: float = 0.9,
  epochs: int = 10,
  batch_size: int = 64,
):
  """Trains what goes on its nearest wrong label.

  Args:
    distance: of the attack, in every coordinate of the normalized input.
    learning_rate: of SGD, without decay; 1e-5 as published, for a class.
    momentum: of SGD.
    epochs: passes over what goes.
    batch_size: rows of a step.
  """
  _passes.check_task(data, 'classification')
  nearest = neighbors(model, params, data, distance)
  return _passes.descend(
    _passes.trainer(model, data, _passes.sgd(learning_rate, momentum)),
    params,
    data.forget._replace(y=nearest),
    _passes.still(model, data.loss),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


def neighbors(model, params, data, distance):
  """The class next to each row that goes, never its own."""
  rows = data.forget

  def of_row(row):
    x, y = row[0][None], row[1][None]
    uphill = jax.grad(lambda x: data.loss(model.apply(params, x), y)[0])(x)
    logits = model.apply(params, x + distance * jnp.sign(uphill))[0]
    return jnp.argmax(jnp.where(jnp.arange(len(logits)) == y, -jnp.inf, logits))

  data.spend('gradients', rows.count)
  data.spend('outputs', rows.count)
  found = jax.lax.map(of_row, (rows.x, rows.y), batch_size=256)
  return found.astype(rows.y.dtype)


make = _door.door(unlearn, READS)
