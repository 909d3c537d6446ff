"""Begins the last blocks anew and trains them with what stays.

After Goel et al. (2022): "exact unlearning" of these blocks, for the first keep
their bits, and with them what they know. Statistics of layers follow what
stays.
"""

from unlearn_jax import keys
from unlearn_jax.unlearners import _blocks, _door, _passes

READS = ('retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-3, 0.3)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  blocks: int = 2,
  learning_rate: float = 0.01,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  epochs: int = 10,
  batch_size: int = 64,
):
  """Retraining of a part; held weights of it stay as they are.

  Args:
    blocks: how many, counted from the output; the head is one. All of them make
      this retraining.
    learning_rate: of SGD.
    momentum: of SGD.
    weight_decay: added to the gradient.
    epochs: passes over what stays.
    batch_size: rows of a step.
  """
  x = data.retain.x
  chosen = _blocks.last(model, params, x, blocks)
  start = _passes.renewed(
    model, params, data, keys.stream(key, 'init'), x, chosen
  )
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  return _passes.descend(
    _passes.trainer(model, data, optimizer, trainable=chosen),
    start,
    data.retain,
    _passes.moving(model, data.loss, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
