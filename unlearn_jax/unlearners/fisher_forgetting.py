"""Fisher forgetting: noise where the rows that stay do not feel it.

After Golatkar et al. (CVPR 2020). The noise of a weight has a variance of
`strength` over its Fisher information on what stays, so what the model knows
about those rows is little disturbed. The information comes from the model's own
answers: labels are not read.

By default the information is that of each example, over all classes up to 20,
else over one class drawn from the model's answer. `form='legacy'` is the code
behind the published tables: squared gradients of the mean loss of batches of
32 rows. It is smaller, so a `strength` of one form is not that of the other.
"""

import dataclasses

import jax
import jax.numpy as jnp

from unlearn_jax import errors, keys, losses, trees
from unlearn_jax.unlearners import _door, _looks, _passes

READS = ('retain.x',)
TUNED = {'strength': (1e-9, 1e-3)}
_MOST_CLASSES = 20  # above it, a class is drawn and not summed over
_LEGACY_BATCH = 32
_WIPED_VARIANCE = 1e-4


def unlearn(
  model,
  params,
  data,
  key,
  *,
  strength: float = 3e-6,
  form: str = 'examples',
  wipe_class: int | None = None,
):
  """One pass over what stays, and noise.

  Args:
    strength: of the noise; the variance is at most 1000 times this (100 times
      in the head), and ten times more in the head and in vectors. Published
      for the legacy form: 1e-9 and 3e-8. At the default, from digits, what
      stays begins to feel it.
    form: 'examples' or 'legacy'.
    wipe_class: its outputs begin again around 0. The published rows of forgotten
      classes have this; without it the mean of every weight stays where it is.
  """
  errors.check_choice('form', form, ('examples', 'legacy'))
  _check_class(wipe_class, data.task)
  if form == 'legacy':
    _passes.check_task(data, 'classification')
    fisher = _of_batches(model, params, data)
  else:
    fisher = _of_examples(model, params, data, keys.stream(key, 'classes'))
  live, frozen = trees.partition(params, model.trainable)
  noisy = {
    path: _noisy(
      leaf, fisher[path], path, keys.stream(key, path), strength, wipe_class
    )
    for path, leaf in live.items()
  }
  return trees.merge(frozen, noisy)


def _check_class(wipe_class, task):
  # Counted from the end, -1 would be the last class, wiped without a word.
  if wipe_class is not None and not 0 <= wipe_class < task.num_outputs:
    raise errors.ConfigError(
      f'wipe_class is one of 0..{task.num_outputs - 1}, got {wipe_class}'
    )


def _noisy(leaf, fisher, path, key, strength, wipe_class):
  in_head = path.startswith('head')
  most = 1e2 if in_head else 1e3
  variance = strength * jnp.minimum(1.0 / (fisher + 1e-8), most)
  if leaf.ndim > 1:  # one value for all inputs of a unit
    variance = jnp.broadcast_to(
      jnp.mean(variance, axis=-2, keepdims=True), leaf.shape
    )
  if in_head and wipe_class is not None:
    leaf = leaf.at[..., wipe_class].set(0.0)
    variance = variance.at[..., wipe_class].set(_WIPED_VARIANCE)
  if in_head or leaf.ndim == 1:
    variance = 10.0 * variance
  return leaf + jnp.sqrt(variance) * jax.random.normal(key, leaf.shape)


def _of_examples(model, params, data, key):
  """The Fisher information of each example, averaged."""
  outputs, rows = data.task.num_outputs, data.retain
  if data.task.kind == 'classification' and outputs > _MOST_CLASSES:
    logits = _looks.outputs(model, params, data, rows)
    drawn = jax.vmap(jax.random.categorical)(keys.rows(key, rows.id), logits)
    return _looks.squared_gradients(
      model, params, data, rows._replace(y=drawn), losses.cross_entropy
    )

  def of_output(sums, index):
    def loss(logits, y):
      del y
      if data.task.kind == 'regression':
        return logits[:, index]
      log_p = jax.nn.log_softmax(logits)[:, index]
      # Squared, the root of the probability is the weight it should have.
      return jax.lax.stop_gradient(jnp.exp(log_p / 2)) * log_p

    squares = _looks.squared_gradients(model, params, unnoted, rows, loss)
    return jax.tree.map(jnp.add, sums, squares), None

  # A scan is traced once, and so would be noted once.
  unnoted = dataclasses.replace(data, read=[])
  data.spend('gradients', outputs * rows.count)
  live, _ = trees.partition(params, model.trainable)
  zero = jax.tree.map(jnp.zeros_like, live)
  return jax.lax.scan(of_output, zero, jnp.arange(outputs))[0]


def _of_batches(model, params, data):
  """The published information: of the mean loss of a batch, for each class."""
  rows = data.retain
  live, frozen = trees.partition(params, model.trainable)
  data.spend('gradients', data.task.num_outputs * rows.count)

  def of_batch(batch):
    def of_class(sums, index):
      def mean(live):
        logits = model.apply(trees.merge(frozen, live), batch.x)
        log_p = jax.nn.log_softmax(logits)
        p = jax.lax.stop_gradient(jnp.exp(log_p[:, index]))
        loss = losses.masked_mean(log_p[:, index], batch.weight)
        return loss, losses.masked_mean(p, batch.weight)

      gradient, p = jax.grad(mean, has_aux=True)(live)
      return jax.tree.map(lambda s, g: s + p * g * g, sums, gradient), None

    zero = jax.tree.map(jnp.zeros_like, live)
    return jax.lax.scan(of_class, zero, jnp.arange(data.task.num_outputs))[0]

  sums = _looks.total(of_batch, rows, _LEGACY_BATCH)
  batches = jnp.ceil(rows.count / _LEGACY_BATCH)
  return jax.tree.map(lambda leaf: leaf / batches, sums)


make = _door.door(unlearn, READS)
