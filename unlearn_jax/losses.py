"""Per-example losses and scores, and the one way to average them.

Every function maps (logits [batch, outputs], y) to [batch] float32; the mean
is taken over examples, with padding rows of weight 0 left out.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import types


def cross_entropy(logits, y, *, label_smoothing: float = 0.0):
  """-log softmax(logits)[y]; smoothing spreads a part over all classes."""
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  loss = -jnp.take_along_axis(log_p, y[:, None], axis=-1)[:, 0]
  if label_smoothing:
    uniform = -jnp.mean(log_p, axis=-1)
    loss = (1 - label_smoothing) * loss + label_smoothing * uniform
  return loss


def squared_error(predictions, y):
  """Squared distance to the target, averaged over its coordinates."""
  gap = predictions.astype(jnp.float32) - y.astype(jnp.float32)
  return jnp.mean(gap * gap, axis=-1)


def margin(logits, y):
  """log p / (1 - p) of the label: its logit over all others together."""
  logits = logits.astype(jnp.float32)
  label = jnp.arange(logits.shape[-1])[None] == y[:, None]
  others = jnp.where(label, -jnp.inf, logits)
  mine = jnp.take_along_axis(logits, y[:, None], axis=-1)[:, 0]
  return mine - jax.nn.logsumexp(others, axis=-1)


def correct(logits, y):
  """1 where the largest logit is the label; ties go to the lowest class."""
  return (jnp.argmax(logits, axis=-1) == y).astype(jnp.float32)


def of_task(task: types.Task):
  """The loss a task is trained with."""
  return cross_entropy if task.kind == 'classification' else squared_error


def masked_mean(values, weight):
  """Weighted mean of `values` [batch] in float32; 0 when no row counts."""
  values, weight = values.astype(jnp.float32), weight.astype(jnp.float32)
  # The padding may hold NaN, which a weight of 0 would not silence.
  kept = jnp.where(weight > 0, values * weight, 0.0)
  return jnp.sum(kept) / jnp.maximum(jnp.sum(weight), 1.0)
