"""The part of many numbers that is smallest, as a mask."""

import jax.numpy as jnp


def smallest(scores, share, among=None):
  """Where a `share` of `scores` with the lowest values stands, ties broken.

  Args:
    scores: an array.
    share: a fraction, of all or of those `among`.
    among: which may be chosen; None: all.
  """
  flat = scores.ravel()
  if among is None:
    count = flat.size
  else:
    flat = jnp.where(among.ravel(), flat, jnp.inf)
    count = jnp.sum(among)
  rank = jnp.argsort(jnp.argsort(flat))
  return (rank < jnp.round(share * count)).reshape(scores.shape)
