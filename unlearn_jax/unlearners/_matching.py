"""Moves models until their outputs at some rows are what they should be.

The core of oracle matching and of datamodel matching, after Georgiev et al.
(2025): no labels, a squared distance between logits, targets of its own for
each model, so the spread of an ensemble survives.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unlearn_jax import errors, keys, losses, registry, step, trees, types
from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _words

_DECAY = 0.95  # of the learning rate, after each epoch


def rows(
  request: _words.Request, forget_mult: int, retain_mult: float
) -> np.ndarray:
  """Positions that are matched: what goes, repeated, and some of what stays."""
  if forget_mult < 1 or retain_mult < 0:
    raise errors.ConfigError(
      f'forget_mult is >= 1 and retain_mult >= 0, got {forget_mult} and '
      f'{retain_mult}'
    )
  retain = request.retain
  count = min(len(retain), round(retain_mult * len(request.forget)))
  # The same for every model: what stays is a choice of the request.
  salt = f'matching/{request.seed}'
  kept = retain[keys.order(request.data.ids[retain], salt)[:count]]
  return np.concatenate([np.repeat(request.forget, forget_mult), kept])


def solver(name: str, **settings: Any) -> Callable[..., types.Params]:
  """`by_adam` or `by_gauss_newton` with settings of theirs."""
  errors.check_choice('solver of a matching', name, _SOLVERS)
  chosen, usual = _SOLVERS[name]
  registry.check_arguments(
    chosen,
    f'setting of {name}',
    usual | settings | {'request': None, 'at': None, 'targets': None},
  )
  return functools.partial(chosen, **usual | settings)


def by_adam(
  request: _words.Request,
  at: np.ndarray,
  targets: np.ndarray,
  *,
  epochs: int,
  learning_rate: float,
  batch_size: int,
) -> types.Params:
  """Adam on batches of the rows `at`; `targets` are [models, rows, outputs]."""
  if epochs < 1 or batch_size < 1:
    raise errors.ConfigError(
      f'epochs and batch_size are >= 1, got {epochs} and {batch_size}'
    )
  run = _adam(request.model, request.width, epochs, learning_rate, batch_size)
  examples = request.data.take(at)
  shared = (examples.x, keys.id_words(examples.id), np.int32(request.seed))
  return _in_chunks(run, shared, request, targets)


@functools.lru_cache(maxsize=32)
def _adam(model, width, epochs, learning_rate, batch_size):
  def falling(progress):
    # A little more, or rounding puts the first step of an epoch in the last.
    return _DECAY ** jnp.floor(progress * epochs + 1e-4)

  optimizer = optax.adam(learning_rate)
  one_step = step.make_step(
    step.supervised(model, losses.squared_error),
    optimizer,
    schedule=falling,
    trainable=model.trainable,
  )

  def one(shared, index, params, target):
    x, ids, seed = shared
    state = step.init_state(params, optimizer, model.trainable)
    return fleet.epochs(
      one_step,
      state,
      step.Table(x, target, ids),
      keys.stream(keys.root(seed), 'matching', index),
      epochs=epochs,
      batch_size=batch_size,
      seen=jnp.ones(len(x)),
    ).params

  return fleet.spread(one, width)


def by_gauss_newton(
  request: _words.Request,
  at: np.ndarray,
  targets: np.ndarray,
  *,
  rounds: int,
  iterations: int,
  damping: float,
) -> types.Params:
  """Least squares in the linearized model, solved by conjugate gradients.

  A round costs one pass for the gradient and `iterations` passes for the
  solver, and needs no learning rate.
  """
  run = _gauss_newton(request.model, request.width, rounds, iterations, damping)
  return _in_chunks(run, request.data.take(at).x, request, targets)


@functools.lru_cache(maxsize=32)
def _gauss_newton(model, width, rounds, iterations, damping):
  def one(x, index, params, target):
    del index
    live, frozen = trees.partition(params, model.trainable)

    def logits(live):
      return model.apply(trees.merge(frozen, live), x)

    def a_round(_, live):
      now, push = jax.linearize(logits, live)
      pull = jax.linear_transpose(push, live)

      def curved(v):
        return jax.tree.map(
          lambda g, leaf: g + damping * leaf, pull(push(v))[0], v
        )

      move, _ = jax.scipy.sparse.linalg.cg(
        curved, pull(target - now)[0], maxiter=iterations, tol=0.0
      )
      return jax.tree.map(jnp.add, live, move)

    live = jax.lax.fori_loop(0, rounds, a_round, live)
    return trees.merge(frozen, live)

  return fleet.spread(one, width)


def _in_chunks(run, shared: Any, request: _words.Request, targets: np.ndarray):
  count = len(jax.tree.leaves(request.params)[0])
  found = []
  for some in fleet.chunks(count, request.width):
    part = jax.tree.map(lambda leaf, some=some: leaf[some], request.params)
    mine = (some.astype(np.int32), part, targets[some].astype(np.float32))
    found.append(jax.device_get(run(shared, mine)))
  return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


_SOLVERS = {
  'adam': (by_adam, {'epochs': 20, 'learning_rate': 1e-2, 'batch_size': 100}),
  'gauss_newton': (
    by_gauss_newton,
    {'rounds': 2, 'iterations': 10, 'damping': 1.0},
  ),
}
