"""Makes small what matters more to what goes than to the data as a whole.

The core of selective synaptic dampening, after Foster et al. (AAAI 2024).
"""

import jax
import jax.numpy as jnp

from unlearn_jax import trees


def importances(of_rows, data):
  """Of what goes, and of everything; `of_rows` gives the mean over its rows."""
  goes, stays = of_rows(data.forget), of_rows(data.retain)
  rows = data.forget.count + data.retain.count
  part = data.forget.count / rows
  everything = jax.tree.map(
    lambda f, r: part * f + (1.0 - part) * r, goes, stays
  )
  return goes, everything


def dampened(model, params, goes, everything, threshold, strength):
  """Shrinks weights whose importance to what goes is above `threshold` times
  that to everything, to `strength` times the inverse ratio, never up."""

  def shrink(leaf, f, d):
    factor = jnp.minimum(strength * d / jnp.where(f > 0, f, 1.0), 1.0)
    return jnp.where(f > threshold * d, factor * leaf, leaf)

  live, frozen = trees.partition(params, model.trainable)
  return trees.merge(frozen, jax.tree.map(shrink, live, goes, everything))
