"""Some passes of wrong labels over what goes, then fine-tuning heals the rest.

After Graves et al. (AAAI 2021). The wrong label of a row is new in each pass
and never its own. What stays is seen in the healing passes as well.
"""

from unlearn_jax import keys
from unlearn_jax.unlearners import _door, _passes, _relabeling

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-3, 0.3)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 0.01,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  wrong_epochs: int = 3,
  epochs: int = 5,
  batch_size: int = 64,
):
  """Wrong labels and true ones first, true ones alone after that.

  Args:
    learning_rate: of SGD.
    momentum: of SGD.
    weight_decay: added to the gradient.
    wrong_epochs: passes in which what goes has wrong labels.
    epochs: passes over what stays alone, after that.
    batch_size: rows of a step.
  """
  train = _passes.trainer(
    model, data, _passes.sgd(learning_rate, momentum, weight_decay)
  )
  confused = _relabeling.descend(
    train,
    params,
    keys.stream(key, 'wrong'),
    epochs=wrong_epochs,
    batch_size=batch_size,
    order='mixed',
    form='wrong',
  )
  return _passes.descend(
    train,
    confused,
    data.retain,
    _passes.moving(model, data.loss, data),
    keys.stream(key, 'heal'),
    epochs=epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
