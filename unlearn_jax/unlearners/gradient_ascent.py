"""Climbs the loss of what goes. Cheap, and quickly destructive."""

from unlearn_jax.unlearners import _door, _passes

READS = ('forget.x', 'forget.y')
TUNED = {'learning_rate': (1e-05, 0.1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 1e-3,
  momentum: float = 0.9,
  epochs: int = 5,
  batch_size: int = 64,
):
  """Gradient ascent, without decay and with still statistics: what stays is
  never seen, so nothing would bring them back."""

  def negative(logits, y):
    return -data.loss(logits, y)

  optimizer = _passes.sgd(learning_rate, momentum)
  return _passes.descend(
    _passes.trainer(model, data, optimizer),
    params,
    data.forget,
    _passes.still(model, negative),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
