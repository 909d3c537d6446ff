"""Trains what goes on wrong labels, and what stays on its own.

After Golatkar et al. (2020), as a baseline in Fan et al. (ICLR 2024). The wrong
label is new in each epoch and never the true one, which `form='legacy'`, as
published, draws once in as many times as there are classes; there what goes
also moves the statistics of layers.
"""

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
  order: str = 'sequential',
  form: str = 'wrong',
  epochs: int = 10,
  batch_size: int = 64,
):
  """Each epoch sees what goes, with wrong labels, and what stays.

  Args:
    learning_rate: of SGD; 0.01 in the published code, for a ResNet-18.
    momentum: of SGD.
    weight_decay: added to the gradient.
    order: 'sequential', first all that goes and then all that stays, or 'mixed'
      in the same batches. The published tables of CIFAR-10 are sequential.
    form: 'wrong' or 'legacy'.
    epochs: passes over both.
    batch_size: rows of a step.
  """
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  return _relabeling.descend(
    _passes.trainer(model, data, optimizer),
    params,
    key,
    epochs=epochs,
    batch_size=batch_size,
    order=order,
    form=form,
  )


make = _door.door(unlearn, READS)
