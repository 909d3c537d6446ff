"""Weights dropped by lot before training: what any other choice must beat."""

import functools

import jax

from unlearn_jax import keys
from unlearn_jax.pruners import _words


def make(*, sparsity: float = 0.95, scope: _words.Scope = 'auto'):
  """The pruner.

  Args:
    sparsity: part of the kernels that is 0.
    scope: 'auto', 'conv', 'dense', or paths of leaves.
  """
  _words.check_sparsity(sparsity)
  _words.check_scope(scope)

  def prune(fleet, masks, indices=None) -> _words.Pruned:
    """A sparse model for each mask of rows."""
    shapes = _words.kernels(fleet, scope)
    count = _words.count_of(1 - sparsity, shapes)
    indices = _words.numbered(masks, indices)
    scores = _scores(fleet.seed, indices, tuple(shapes.items()))
    chosen = _words.of_each(scores, count)
    return _words.finish(fleet, masks, indices, fleet.starts(indices), chosen)

  return prune


@functools.partial(jax.jit, static_argnums=(0, 2))
def _scores(seed, indices, shapes):
  """Uniform numbers for the kernels of each model."""

  def of_one(index):
    key = keys.stream(keys.root(seed), 'random pruning', index)
    return {
      path: jax.random.uniform(keys.stream(key, path), shape)
      for path, shape in shapes
    }

  return jax.vmap(of_one)(indices)
