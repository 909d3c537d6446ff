"""Optimizers and schedules by name.

An optimizer here has a constant base rate. A schedule is a factor in [0, 1] of
the run's progress (also in [0, 1]) that multiplies the update, so the number
of steps stays a run-time value and one compiled program serves every run.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from unlearn_jax import errors, registry

Schedule = Callable[[jax.Array], jax.Array]


def sgd(*, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
  """SGD; the decay is added to the gradient, as in most vision recipes."""
  return optax.chain(
    optax.add_decayed_weights(weight_decay)
    if weight_decay
    else optax.identity(),
    optax.sgd(learning_rate, momentum or None, nesterov),
  )


def adam(*, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
  return optax.adam(learning_rate, b1, b2, eps)


def adamw(*, learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4):
  """Adam with decoupled decay, of matrices and kernels only."""
  return optax.adamw(
    learning_rate,
    b1,
    b2,
    eps,
    weight_decay=weight_decay,
    mask=_matrices,
  )


_OPTIMIZERS = {f.__name__: f for f in (sgd, adam, adamw)}


def make(name: str, *, clip_norm: float = 0.0, **kwargs):
  """An optax optimizer; `clip_norm` > 0 clips the global gradient norm."""
  errors.check_choice('optimizer', name, _OPTIMIZERS)
  registry.check_arguments(
    _OPTIMIZERS[name], f'argument of optimizer {name}', kwargs
  )
  if not 0 < kwargs['learning_rate'] < math.inf:
    raise errors.ConfigError(
      f'learning_rate is positive and finite, got {kwargs["learning_rate"]}'
    )
  if not 0 <= clip_norm < math.inf:  # by a negative one it would climb
    raise errors.ConfigError(
      f'clip_norm is positive, or 0 for none, got {clip_norm}'
    )
  optimizer = _OPTIMIZERS[name](**kwargs)
  if clip_norm:
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
  return optimizer


def held(optimizer, kept):
  """`optimizer`, but only coordinates that are true in `kept` ever move.

  The others keep their bits: neither momentum nor weight decay reaches them,
  and no trace of them is in the state. `kept` is a tree like the parameters.
  """

  def only(tree):
    return jax.tree.map(
      lambda keep, leaf: jnp.where(keep, leaf, jnp.zeros((), leaf.dtype)),
      kept,
      tree,
    )

  def update(gradient, state, params=None):
    seen = None if params is None else only(params)
    updates, state = optimizer.update(only(gradient), state, seen)
    return only(updates), state

  return optax.GradientTransformation(optimizer.init, update)


def constant(progress):
  return jnp.ones_like(progress)


def linear(progress):
  """Straight down to 0."""
  return 1.0 - progress


def cosine(progress):
  """Half a cosine, down to 0."""
  return 0.5 * (1.0 + jnp.cos(jnp.pi * progress))


_SCHEDULES = {f.__name__: f for f in (constant, linear, cosine)}


def make_schedule(name: str = 'constant', *, warmup: float = 0.0) -> Schedule:
  """A factor of progress; `warmup` is the fraction of the run spent rising."""
  errors.check_choice('schedule', name, _SCHEDULES)
  errors.check_fraction('warmup', warmup)
  decay = _SCHEDULES[name]

  def schedule(progress):
    if not warmup:
      return decay(progress)
    rising = progress / warmup
    falling = decay((progress - warmup) / (1.0 - warmup))
    return jnp.where(progress < warmup, rising, falling)

  return schedule


def _matrices(params):
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
