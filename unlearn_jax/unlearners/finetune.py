"""Trains on with what stays, and hopes that the rest fades."""

from unlearn_jax.unlearners import _door, _passes

READS = ('retain.x', 'retain.y')
TUNED = {'learning_rate': (0.001, 0.2)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 0.01,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  epochs: int = 10,
  batch_size: int = 64,
):
  """Fine-tuning on the rows that stay."""
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  return _passes.descend(
    _passes.trainer(model, data, optimizer),
    params,
    data.retain,
    _passes.moving(model, data.loss, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
