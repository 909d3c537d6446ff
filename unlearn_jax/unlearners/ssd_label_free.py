"""Selective synaptic dampening without labels.

As `ssd`, but the importance of a weight is how much it changes the length of
the outputs: the mean absolute gradient of their squared norm. After Foster et
al., "Loss-Free Machine Unlearning" (2024).
"""

import functools

import jax.numpy as jnp

from unlearn_jax.unlearners import _dampening, _door, _looks

READS = ('forget.x', 'retain.x')
TUNED = {'threshold': (0.1, 100.0), 'strength': (0.1, 5.0)}


def unlearn(
  model, params, data, key, *, threshold: float = 3.0, strength: float = 1.0
):
  """One pass over all rows, no training, no labels.

  Args:
    threshold: how many times more important to what goes than to everything a
      weight must be; smaller shrinks more weights. No ratio is above all rows
      over forgotten ones. 3 is from digits.
    strength: 1 shrinks to the ratio of the importances, less shrinks more.
  """

  def length(outputs, y):
    del y
    return jnp.sum(outputs * outputs, axis=-1)

  of_rows = functools.partial(
    _looks.mean_of_gradients, jnp.abs, model, params, data, loss=length
  )
  goes, everything = _dampening.importances(of_rows, data)
  return _dampening.dampened(
    model, params, goes, everything, threshold, strength
  )


make = _door.door(unlearn, READS)
