"""What a pruner gives back, which weights it may prune, and how it ranks them.

A pruner is `make(**settings)`, which gives `prune(fleet, masks, indices=None)`:
for each mask of rows it trains a sparse model, in the fleet and with its words.
Only kernels are pruned, ranked over all layers together; norms, biases, the
head and statistics stay free.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, keys, trees, types
from unlearn_jax.fleet import fleet as fleet_lib

Scope = str | Sequence[str]  # a name, or paths of leaves
SCOPES = ('auto', 'conv', 'dense')


class Pruned(NamedTuple):
  """Sparse models side by side, leaves [models, ...]."""

  params: types.Params  # 0 where pruned
  kept: types.Params  # booleans like `params`: which weights may move


def check_sparsity(sparsity: float) -> None:
  """Refuses to prune nothing, or everything."""
  if not 0 < sparsity < 1:
    raise errors.ConfigError(f'sparsity is between 0 and 1, got {sparsity}')


def check_scope(scope: Scope) -> None:
  """Refuses a name that is none; paths need a model to be checked."""
  if isinstance(scope, str):
    errors.check_choice('scope', scope, SCOPES)


def kernels(fleet: fleet_lib.Fleet, scope: Scope) -> dict[str, tuple[int, ...]]:
  """Shapes of the leaves that may be pruned, by path.

  'conv' are the kernels of convolutions, as published; 'dense' those of dense
  layers but the head; 'auto' are the former, or the latter where a model has no
  convolution.
  """
  x = np.zeros((1, *fleet.data.input_shape), np.float32)
  params = fleet.model.init(keys.root(0), x)
  live, _ = trees.partition(params, fleet.model.trainable)
  shapes = {path: np.shape(leaf) for path, leaf in live.items()}
  if not isinstance(scope, str):
    for path in scope:
      errors.check_choice('leaf to prune', path, shapes)
    return {path: shapes[path] for path in sorted(scope)}
  found = {p: shape for p, shape in shapes.items() if p.endswith('kernel')}
  conv = {path: shape for path, shape in found.items() if len(shape) == 4}
  dense = {
    path: shape
    for path, shape in found.items()
    if len(shape) == 2 and path != 'head/kernel'
  }
  chosen = {'conv': conv, 'dense': dense, 'auto': conv or dense}[scope]
  if not chosen:
    raise errors.ConfigError(
      f'scope {scope!r} finds nothing to prune among {", ".join(shapes)}'
    )
  return chosen


def count_of(fraction: float, shapes: dict[str, tuple[int, ...]]) -> int:
  """How many weights a fraction is: at least one, or nothing would be left."""
  size = sum(int(np.prod(shape)) for shape in shapes.values())
  count = round(fraction * size)
  if not count:
    raise errors.ConfigError(f'{fraction:.3g} of {size} weights is none')
  return count


def largest(scores: dict[str, jax.Array], count: Any) -> dict[str, jax.Array]:
  """Which of the scores of one model are its `count` largest.

  Exactly as many: of those that tie, the first. `count` may be traced.
  """
  flat = jnp.concatenate([jnp.ravel(leaf) for leaf in scores.values()])
  least = jnp.sort(flat)[len(flat) - count]
  above, tied = flat > least, flat == least
  chosen = above | (tied & (jnp.cumsum(tied) <= count - jnp.sum(above)))
  ends = np.cumsum([leaf.size for leaf in scores.values()])
  parts = jnp.split(chosen, ends[:-1])
  return {
    path: part.reshape(leaf.shape)
    for (path, leaf), part in zip(scores.items(), parts, strict=True)
  }


of_each = jax.jit(jax.vmap(largest, (0, None)))


def finish(
  fleet: fleet_lib.Fleet,
  masks: np.ndarray,
  indices: np.ndarray,
  start: types.Params,
  chosen: dict[str, Any],
  begin: int = 0,
) -> Pruned:
  """Trains from epoch `begin` what of `start` is `chosen`, and nothing else.

  Args:
    fleet, masks, indices: as in its training.
    start: of all models.
    chosen: booleans by path, of the leaves that are pruned.
    begin: the epoch that `start` comes from.
  """
  kept = {
    path: np.asarray(chosen.get(path, np.ones(np.shape(leaf), bool)))
    for path, leaf in trees.flatten(start).items()
  }
  kept = trees.unflatten(kept)
  zeroed = jax.tree.map(
    lambda keep, leaf: np.where(keep, leaf, np.zeros((), leaf.dtype)),
    kept,
    start,
  )
  made = fleet.train(masks, indices, start=zeroed, kept=kept, begin=begin)
  return Pruned(fleet_lib.together(made), kept)


def numbered(masks: np.ndarray, indices: Sequence[int] | None) -> np.ndarray:
  """Indices of the models, as the fleet numbers them."""
  return np.arange(len(masks)) if indices is None else np.asarray(indices)
