"""Pruning by the flow through a network before it has seen data.

SynFlow (Tanaka et al., 2020): with the sizes of all weights in their place, a
weight is worth what the outputs for an input of ones would lose with it. What
enters a layer leaves it, so no layer runs dry if the flow is measured again
after each of many small rounds.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, trees, types
from unlearn_jax.fleet import fleet as fleet_lib
from unlearn_jax.pruners import _words


def make(
  *, sparsity: float = 0.95, rounds: int = 100, scope: _words.Scope = 'auto'
):
  """The pruner.

  Args:
    sparsity: part of the kernels that is 0.
    rounds: each keeps the same fraction of the living kernels.
    scope: 'auto', 'conv', 'dense', or paths of leaves.
  """
  _words.check_sparsity(sparsity)
  _words.check_scope(scope)
  if rounds < 1:
    raise errors.ConfigError(f'rounds is at least 1, got {rounds}')

  def prune(fleet, masks, indices=None) -> _words.Pruned:
    """A sparse model for each mask of rows."""
    shapes = _words.kernels(fleet, scope)
    counts = [
      _words.count_of((1 - sparsity) ** (k / rounds), shapes)
      for k in range(1, rounds + 1)
    ]
    indices = _words.numbered(masks, indices)
    start = fleet.starts(indices)
    ones = np.ones((1, *fleet.data.input_shape), np.float32)
    search = _searches(fleet.model, tuple(shapes), fleet.width)
    chosen, finite = search((ones, np.array(counts, np.int32)), (start,))
    if not np.all(finite):
      raise errors.TrainingDiverged('the flow of SynFlow is not finite')
    return _words.finish(fleet, masks, indices, start, chosen)

  return prune


@functools.lru_cache(maxsize=16)
def _searches(model: types.Model, paths, width: int):
  return fleet_lib.spread(functools.partial(_search, model, paths), width)


def _search(model: types.Model, paths, shared, params):
  """Which kernels of one model live, and whether all flows were finite."""
  ones, counts = shared
  weights, stats = trees.partition(params, types.not_stats)
  sizes, rest = trees.partition(
    jax.tree.map(jnp.abs, weights), lambda path: path in paths
  )

  def flow(kernels):
    return jnp.sum(model.apply(trees.merge(kernels, rest, stats), ones))

  def a_round(k, carry):
    living, finite = carry
    kernels = jax.tree.map(lambda a, s: jnp.where(a, s, 0.0), living, sizes)
    gradient = jax.grad(flow)(kernels)
    scores = jax.tree.map(
      lambda a, s, g: jnp.where(a, jnp.abs(s * g), -1.0),
      living,
      kernels,
      gradient,
    )
    for leaf in jax.tree.leaves(scores):
      finite &= jnp.all(jnp.isfinite(leaf))
    return _words.largest(scores, counts[k]), finite

  living = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), sizes)
  return jax.lax.fori_loop(0, len(counts), a_round, (living, jnp.array(True)))
