"""Moves features off what goes, and back to where they were elsewhere.

The core of label-agnostic forgetting, after Shen et al. (ICLR 2024): two small
variational autoencoders learn which features the model has for what stays and
for what goes. The model is then trained so that the first still describes its
features of what stays, and the second no longer those of what goes, and beside
it so that features of what stays are similar to the former ones.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import keys, losses, step
from unlearn_jax.unlearners import _looks, _passes

_DIVERGENCE = 0.025  # weight of the prior against the squared error
_VAE_RATE = 1e-3


def forgotten(
  model,
  params,
  data,
  key,
  *,
  learning_rate,
  align_learning_rate,
  temperature,
  latent,
  vae_epochs,
  epochs,
  batch_size,
):
  """The model after `epochs` passes over what stays, beside it what goes."""
  former = [
    _former(model, params, data, rows) for rows in (data.forget, data.retain)
  ]
  vaes = [
    _fitted(
      rows._replace(x=rows.y, y=None),
      keys.stream(key, 'vae', i),
      data,
      latent,
      vae_epochs,
      batch_size,
    )
    for i, rows in enumerate(former)
  ]
  goes, stays = (
    rows._replace(y={'former': rows.y, 'goes': jnp.full(len(rows.id), i)})
    for i, rows in zip((1.0, 0.0), former, strict=True)
  )
  first = _passes.trainer(model, data, _passes.adam(learning_rate))
  second = _passes.trainer(model, data, _passes.adam(align_learning_rate))
  apart = first.step(_apart(model, *vaes))
  align = second.step(_align(model, temperature))

  def one_step(state, batch, key, progress):
    """A step of each, with optimizers of their own."""
    mine, theirs = state.opt_state
    moved, _ = apart(state._replace(opt_state=mine), batch, key, progress)
    back, loss = align(
      step.TrainState(moved.params, theirs, state.step), batch, key, progress
    )
    both = (moved.opt_state, back.opt_state)
    return step.TrainState(back.params, both, state.step + 1), loss

  def an_epoch(epoch, state):
    return _passes.a_pass(
      one_step,
      state,
      stays,
      keys.stream(key, 'pass', epoch),
      batch_size=batch_size,
      part=(epoch, epochs),
      beside=goes,
    )

  for _ in ('apart', 'align'):
    _passes.spend_passes(data, stays, epochs, batch_size, goes)
  state = first.begin(params)
  state = state._replace(
    opt_state=(state.opt_state, second.begin(params).opt_state)
  )
  return jax.lax.fori_loop(0, epochs, an_epoch, state).params


def _former(model, params, data, rows):
  """Rows with the features of the model as their labels."""
  data.spend('outputs', rows.count)
  features = _looks.by_batches(lambda x: model.features(params, x), rows.x)
  return rows._replace(y=features)


def _apart(model, vae_goes, vae_stays):
  """How badly the features of what stays are described, and how well those of
  what goes; the statistics of layers do not move."""

  def objective(params, batch, row_keys):
    features = model.features(params, batch.x)
    error = jnp.where(
      batch.y['goes'] > 0,
      _error(vae_goes, features),
      _error(vae_stays, features),
    )
    # Far is far: it does not get better by going on for ever.
    score = jnp.exp(error / (error + 1.0))
    stays, goes = _weights(batch)
    return step.Objective(
      losses.masked_mean(score, stays) - losses.masked_mean(score, goes)
    )

  return objective


def _align(model, temperature):
  """Similar to before where it stays, and there more than where it goes."""

  def objective(params, batch, row_keys):
    features = model.features(params, batch.x)
    distance = 1.0 - _cosine(features, batch.y['former'])
    stays, goes = _weights(batch)
    others = jax.nn.logsumexp(
      jnp.where(goes > 0, distance / temperature, -jnp.inf)
    )
    return step.Objective(losses.masked_mean(distance, stays) - others)

  return objective


def _weights(batch):
  goes = batch.y['goes'] * batch.weight
  return batch.weight - goes, goes


def _cosine(left, right):
  # Never 0: features may be, and the root has no derivative there.
  lengths = jnp.sum(left**2, -1) * jnp.sum(right**2, -1) + 1e-12
  return jnp.sum(left * right, -1) / jnp.sqrt(lengths)


def _fitted(rows, key, data, latent, epochs, batch_size):
  """A variational autoencoder of `rows.x`, by Adam."""
  unnoted = dataclasses.replace(data, read=[])  # no gradients of the model
  train = _passes.Trainer(
    None, unnoted, optax.adam(_VAE_RATE), lambda path: True
  )

  def objective(vae, batch, row_keys):
    mean, log_var = _encode(vae, batch.x)
    noise = jax.vmap(lambda k: jax.random.normal(k, mean.shape[1:]))(row_keys)
    rebuilt = _decode(vae, mean + jnp.exp(log_var / 2) * noise)
    error = jnp.sum((rebuilt - batch.x) ** 2, axis=-1)
    divergence = jnp.sum(jnp.exp(log_var) + mean**2 - 1.0 - log_var, -1) / 2
    return step.Objective(
      losses.masked_mean(error + _DIVERGENCE * divergence, batch.weight)
    )

  return _passes.descend(
    train,
    _new(keys.stream(key, 'init'), rows.x.shape[1], latent),
    rows,
    objective,
    keys.stream(key, 'fit'),
    epochs=epochs,
    batch_size=batch_size,
  )


def _new(key, size, latent):
  hidden = max(2 * latent, size // 2)
  shapes = {
    'in': (size, hidden),
    'mean': (hidden, latent),
    'log_var': (hidden, latent),
    'out': (latent, hidden),
    'rebuilt': (hidden, size),
  }
  return {
    name: {
      'kernel': jax.random.normal(keys.stream(key, name), shape)
      / jnp.sqrt(shape[0]),
      'bias': jnp.zeros(shape[1]),
    }
    for name, shape in shapes.items()
  }


def _encode(vae, x):
  hidden = jax.nn.relu(_layer(vae['in'], x))
  return _layer(vae['mean'], hidden), _layer(vae['log_var'], hidden)


def _decode(vae, code):
  return _layer(vae['rebuilt'], jax.nn.relu(_layer(vae['out'], code)))


def _layer(layer, x):
  return x @ layer['kernel'] + layer['bias'][None]


def _error(vae, x):
  """Squared distance of features to what is rebuilt of them."""
  return jnp.sum((_decode(vae, _encode(vae, x)[0]) - x) ** 2, axis=-1)
