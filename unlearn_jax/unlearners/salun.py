"""Wrong labels, but only for the weights that what goes pulls at most.

After Fan et al. (ICLR 2024). Which weights these are is read off the gradient
of the loss of what goes, once, before anything moves. The others keep their
bits, whatever momentum and decay would do to them. `form` is that of
`random_label`.
"""

import jax
import jax.numpy as jnp
from jax import flatten_util

from unlearn_jax.unlearners import _door, _looks, _parts, _passes, _relabeling

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-3, 0.3), 'share': (0.1, 0.9)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  share: float = 0.5,
  learning_rate: float = 0.013,
  momentum: float = 0.9,
  weight_decay: float = 5e-4,
  order: str = 'sequential',
  form: str = 'wrong',
  epochs: int = 10,
  batch_size: int = 64,
):
  """Random labels under a mask.

  Args:
    share: of the weights that may move, over all layers together.
    learning_rate: of SGD; 0.013 in the published code, 0.006 in a reply of its
      authors.
    momentum: of SGD.
    weight_decay: added to the gradient.
    order: 'sequential' or 'mixed', see `random_label`.
    form: 'wrong' or 'legacy'.
    epochs: passes over both sets.
    batch_size: rows of a step.
  """
  optimizer = _passes.sgd(learning_rate, momentum, weight_decay)
  salient = _salient(model, params, data, share)
  return _relabeling.descend(
    _passes.trainer(model, data, optimizer, kept=salient),
    params,
    key,
    epochs=epochs,
    batch_size=batch_size,
    order=order,
    form=form,
  )


def _salient(model, params, data, share):
  """The weights with the largest gradients, of those that may move."""
  pull = _looks.mean_gradient(model, params, data, data.forget, data.loss)
  flat, shaped = flatten_util.ravel_pytree(pull)
  among = None
  if data.kept is not None:
    among, _ = flatten_util.ravel_pytree(data.kept)
  chosen = _parts.smallest(-jnp.abs(flat), share, among)
  return jax.tree.map(lambda leaf: leaf > 0, shaped(chosen.astype(flat.dtype)))


make = _door.door(unlearn, READS)
