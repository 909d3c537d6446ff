"""Selective synaptic dampening: shrinks weights that matter mostly to what goes.

After Foster et al. (AAAI 2024). Importance is the mean squared gradient of the
loss. By default each example is differentiated by itself; `form='legacy'` is
the released code, which squares the mean gradient of a batch: a smaller number,
and another one for every batch size.
"""

import functools

import jax
import jax.numpy as jnp

from unlearn_jax import errors, losses, trees
from unlearn_jax.unlearners import _dampening, _door, _looks

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'threshold': (0.1, 100.0), 'strength': (0.1, 5.0)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  threshold: float = 5.0,
  strength: float = 1.0,
  form: str = 'examples',
  batch_size: int = 64,
):
  """One pass over all rows, no training.

  Args:
    threshold: how many times more important to what goes than to everything a
      weight must be; smaller shrinks more weights. No ratio is above all rows
      over forgotten ones, so the published 10 (of the legacy form, a ResNet-18;
      search 0.1 to 100) shrinks nothing where a tenth is forgotten. 5 is from
      digits.
    strength: 1 shrinks to the ratio of the importances, less shrinks more.
    form: 'examples' or 'legacy'.
    batch_size: of the legacy form alone.
  """
  errors.check_choice('form', form, ('examples', 'legacy'))
  if form == 'examples':
    of_rows = functools.partial(
      _looks.squared_gradients, model, params, data, loss=data.loss
    )
  else:
    of_rows = functools.partial(_of_batches, model, params, data, batch_size)
  goes, everything = _dampening.importances(of_rows, data)
  return _dampening.dampened(
    model, params, goes, everything, threshold, strength
  )


def _of_batches(model, params, data, batch_size, rows):
  """The mean over batches of the squared gradient of their mean loss."""
  live, frozen = trees.partition(params, model.trainable)
  data.spend('gradients', rows.count)

  def of_batch(batch):
    def mean(live):
      logits = model.apply(trees.merge(frozen, live), batch.x)
      return losses.masked_mean(data.loss(logits, batch.y), batch.weight)

    return jax.tree.map(jnp.square, jax.grad(mean)(live))

  batches = jnp.ceil(rows.count / batch_size)
  sums = _looks.total(of_batch, rows, batch_size)
  return jax.tree.map(lambda leaf: leaf / batches, sums)


make = _door.door(unlearn, READS)
