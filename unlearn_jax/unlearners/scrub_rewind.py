"""`scrub`, and back to the epoch that forgets as much as never having seen.

After Kurmanji et al. (NeurIPS 2023). An error on what goes that is too high
gives it away as much as one that is too low. Right is the error of the model
at the end on rows that no model saw, of the same classes; the epoch whose error
on what goes is nearest to it is returned.
"""

import functools

import jax
import jax.numpy as jnp

from unlearn_jax import losses
from unlearn_jax.unlearners import _door, _looks, _passes, _scrub

READS = (
  'forget.x',
  'forget.y',
  'retain.x',
  'retain.y',
  'control.x',
  'control.y',
)
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
  imitation: float = 0.5,
  labels: float = 1.0,
  temperature: float = 4.0,
  ascents: int = 3,
  epochs: int = 5,
  forget_batch_size: int = 32,
  batch_size: int = 128,
):
  """The settings are those of the published runs against attackers.

  Where no control row has a class of what goes, the last epoch is returned.

  Args:
    learning_rate: of SGD.
    momentum: of SGD.
    weight_decay: added to the gradient.
    imitation: weight of the distance to the teacher on what stays.
    labels: weight of the loss of the labels on what stays.
    temperature: softens both answers.
    ascents: epochs that begin with a pass away from the teacher.
    epochs: passes over what stays, and models to choose from.
    forget_batch_size: rows of a step over what goes.
    batch_size: rows of a step over what stays.
  """
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)

  def error(student, rows, weight):
    logits = _looks.by_batches(functools.partial(model.apply, student), rows.x)
    wrong = 1.0 - losses.correct(logits, rows.y)
    return jnp.sum(weight * wrong) / jnp.sum(weight)

  student, (candidates, errors) = _scrub.descend(
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
    after_epoch=lambda p: (p, error(p, data.forget, data.forget.weight)),
  )
  data.spend('outputs', epochs * data.forget.count + data.control.count)
  weight = _matched(data.control, data.forget, data.task.num_outputs)
  target = error(student, data.control, weight)
  chosen = jnp.where(
    jnp.isnan(target), epochs - 1, jnp.argmin(jnp.abs(errors - target))
  )
  return jax.tree.map(lambda leaf: leaf[chosen], candidates)


def _matched(rows, like, classes: int):
  """Weights that give `rows` the classes of `like`."""

  def count(rows):
    return jnp.bincount(rows.y, rows.weight, length=classes)

  # A class that `rows` do not have is left out.
  return rows.weight * (count(like) / jnp.maximum(count(rows), 1.0))[rows.y]


make = _door.door(unlearn, READS)
