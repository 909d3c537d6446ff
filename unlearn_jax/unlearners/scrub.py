"""A student that leaves its teacher on what goes and follows it on the rest.

After Kurmanji et al. (NeurIPS 2023). The teacher is the model as it was. An
epoch is a pass away from it over what goes, in the first epochs, and then a
pass over what stays, towards it and towards the labels. Labels of what goes are
not read: away from the teacher is not away from the label.

At the start student and teacher are one, where their distance has no gradient:
the first pass away does next to nothing, and so do all of them where a model
fits its data so well that the other passes hardly move it.
"""

from unlearn_jax.unlearners import _door, _passes, _scrub

READS = ('forget.x', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 5e-4,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  imitation: float = 0.001,
  labels: float = 0.99,
  temperature: float = 4.0,
  ascents: int = 2,
  epochs: int = 3,
  forget_batch_size: int = 32,
  batch_size: int = 128,
):
  """The settings are the published ones for a ResNet-18 and many rows.

  Args:
    learning_rate: of SGD.
    momentum: of SGD.
    weight_decay: added to the gradient.
    imitation: weight of the distance to the teacher on what stays; 0.5 in the
      published runs on few rows.
    labels: weight of the loss of the labels on what stays; 1 there.
    temperature: softens both answers.
    ascents: epochs that begin with a pass away from the teacher; 3 there.
    epochs: passes over what stays; 10 there.
    forget_batch_size: rows of a step over what goes.
    batch_size: rows of a step over what stays.
  """
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  student, _ = _scrub.descend(
    _passes.trainer(model, data, optimizer),
    params,
    key,
    imitation=imitation,
    labels=labels,
    temperature=temperature,
    ascents=ascents,
    epochs=epochs,
    forget_batch_size=forget_batch_size,
    batch_size=batch_size,
  )
  return student


make = _door.door(unlearn, READS)
