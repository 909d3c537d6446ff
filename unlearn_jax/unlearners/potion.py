"""Dampening without labels that finds its own threshold.

After Schoepf et al., "Potion: Towards Poison Unlearning" (2024): importance is
the mean absolute gradient of the length of the outputs, not of its square, so
that single examples with long outputs do not decide. The threshold is a high
percentile of the ratios of importance. It falls, and more weights are shrunk,
until the model has changed its mind about enough of what goes.

The paper counts how many labels of the forget set are still met. Here it is how
many of the model's own former answers, which for a model that fits its data is
the same and needs no label.
"""

import functools

import jax
import jax.numpy as jnp

from unlearn_jax import trees
from unlearn_jax.unlearners import _dampening, _door, _looks, _passes

READS = ('forget.x', 'retain.x')
TUNED = {'remain': (0.05, 0.95)}
_GROWTH = 1.1  # of the supposed share of bad rows, in each round


def unlearn(
  model,
  params,
  data,
  key,
  *,
  remain: float = 0.2,
  strength: float = 1.0,
):
  """One pass over all rows, then a look at what goes for each threshold tried.

  Args:
    remain: share of the former answers about what goes at which it stops.
    strength: 1 shrinks to the ratio of the importances, less shrinks more.
  """
  _passes.check_task(data, 'classification')
  of_rows = functools.partial(
    _looks.mean_of_gradients, jnp.abs, model, params, data, loss=_length
  )
  goes, everything = _dampening.importances(of_rows, data)
  quantile = _quantiles(goes, everything, data.kept)
  rows = data.forget.count + data.retain.count
  asked = _looks.by_batches(
    functools.partial(model.apply, params), data.forget.x
  ).argmax(-1)

  def at(share):
    """What a supposed share of bad rows makes of the model."""
    percentile = 100.0 - jnp.log1p(100.0 * share)
    return _dampening.dampened(
      model, params, goes, everything, quantile(percentile), strength
    )

  def agreement(share):
    logits = _looks.by_batches(
      functools.partial(model.apply, at(share)), data.forget.x
    )
    same = (logits.argmax(-1) == asked) * data.forget.weight
    return jnp.sum(same) / data.forget.count

  def go_on(carry):
    _, share, agreed = carry
    return (agreed > remain) & (share < 1.0)

  def a_round(carry):
    rounds, share, _ = carry
    share = _GROWTH * share
    return rounds + 1, share, agreement(share)

  share = data.forget.count / (25.0 * rows)
  first = jnp.ones(()), share, agreement(share)
  rounds, share, _ = jax.lax.while_loop(go_on, a_round, first)
  data.spend('outputs', (1 + rounds) * data.forget.count)
  return at(share)


def _length(outputs, y):
  del y
  squares = jnp.sum(outputs * outputs, axis=-1)
  # At 0 there is no direction, and the derivative of the root would be NaN.
  return jnp.where(
    squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0
  )


def _quantiles(goes, everything, kept):
  """Percentiles of the ratios of importance, of weights that may move."""
  ratios = jax.tree.map(
    lambda f, d: jnp.where(d > 0, f / jnp.where(d > 0, d, 1.0), 0.0),
    goes,
    everything,
  )
  if kept is not None:
    ratios = jax.tree.map(
      lambda keep, r: jnp.where(keep, r, jnp.inf), kept, ratios
    )
  ordered = jnp.sort(
    jnp.concatenate([leaf.ravel() for leaf in trees.flatten(ratios).values()])
  )
  last = jnp.sum(jnp.isfinite(ordered)) - 1

  def at(percentile):
    place = jnp.clip(percentile / 100.0, 0.0, 1.0) * last
    below = jnp.floor(place).astype(jnp.int32)
    low = ordered[below]
    high = ordered[jnp.minimum(below + 1, last)]
    return low + (place - below) * (high - low)

  return at


make = _door.door(unlearn, READS)
