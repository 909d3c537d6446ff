"""Takes away what many ways to learn the forget set on agree about.

After Kim et al., "NegMerge" (2024). The model is fine-tuned on what goes with
several settings, all in one run. Changes whose sign is the same in every run
are averaged, the others dropped, and the mean is subtracted as often as rows
that no model saw allow. There is no public code.
"""

import dataclasses

import jax
import jax.numpy as jnp

from unlearn_jax import keys, losses, trees
from unlearn_jax.unlearners import _door, _looks, _passes

READS = ('forget.x', 'forget.y', 'control.x', 'control.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}
_AMOUNTS = 21  # of 0 to 1


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 0.01,
  spread: float = 10.0,
  candidates: int = 10,
  momentum: float = 0.9,
  keep: float = 0.95,
  epochs: int = 10,
  batch_size: int = 64,
):
  """Fine-tunes `candidates` copies, and subtracts what they agree about.

  Args:
    learning_rate: the middle of those of the copies, evenly spaced in their
      logarithm.
    spread: the highest learning rate over the lowest.
    candidates: copies of the model; each also has an order of its own.
    momentum: of SGD.
    keep: part of the former accuracy on the control rows that must be left (of
      a regression: the loss may rise by the inverse of it).
    epochs: passes of each copy over what goes.
    batch_size: of these.
  """
  place = jnp.linspace(-0.5, 0.5, candidates)

  def tuned(rate, key):
    return _passes.descend(
      _passes.trainer(model, unnoted, _passes.sgd(rate, momentum)),
      params,
      data.forget,
      _passes.still(model, data.loss),
      key,
      epochs=epochs,
      batch_size=batch_size,
    )

  # The copies are traced once, and so would be noted once.
  unnoted = dataclasses.replace(data, read=[])
  data.spend('gradients', candidates * epochs * data.forget.count)
  made = jax.vmap(tuned)(
    learning_rate * spread**place,
    jax.vmap(lambda i: keys.stream(key, 'copy', i))(jnp.arange(candidates)),
  )
  live, frozen = trees.partition(params, model.trainable)
  agreed = jax.tree.map(
    _agreed, trees.partition(made, model.trainable)[0], live
  )

  def without(amount):
    return trees.merge(
      frozen, jax.tree.map(lambda p, a: p - amount * a, live, agreed)
    )

  def badness(amount):
    logits = _looks.by_batches(
      lambda x: model.apply(without(amount), x), data.control.x
    )
    return losses.masked_mean(_wrong(data, logits), data.control.weight)

  amounts = jnp.linspace(0.0, 1.0, _AMOUNTS)
  data.spend('outputs', _AMOUNTS * data.control.count)
  found = jax.lax.map(badness, amounts)
  if data.task.kind == 'classification':
    allowed = 1.0 - found >= keep * (1.0 - found[0])
  else:
    allowed = keep * found <= found[0]
  return without(jnp.max(jnp.where(allowed, amounts, 0.0)))


def _agreed(made, before):
  """The mean change, where all change in the same direction."""
  changes = made - before[None]
  same = jnp.abs(jnp.sum(jnp.sign(changes), axis=0)) == len(changes)
  return jnp.where(same, jnp.mean(changes, axis=0), 0.0)


def _wrong(data, logits):
  if data.task.kind == 'classification':
    return 1.0 - losses.correct(logits, data.control.y)
  return data.loss(logits, data.control.y)


make = _door.door(unlearn, READS)
