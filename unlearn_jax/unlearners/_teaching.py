"""How far a student is from a teacher, an example at a time."""

import jax
import jax.numpy as jnp


def divergence(logits, teacher, temperature=1.0):
  """KL(teacher || student) of both softened by `temperature`, [batch].

  Summed over the classes: a mean over them would weigh it down as their number
  grows.
  """
  mine = jax.nn.log_softmax(logits / temperature)
  theirs = jax.nn.log_softmax(teacher / temperature)
  return jnp.sum(jnp.exp(theirs) * (theirs - mine), axis=-1)
