"""Prunes the models first, and then forgets with any other unlearner.

After Jia et al., "Model Sparsity Can Simplify Machine Unlearning" (NeurIPS
2023), for models that are already there: their smallest kernels go, what is
left is fine-tuned on what stays, and the unlearner may move that alone. Their
published protocol trains the sparse models instead, which is a pruner's work.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, registry, trees
from unlearn_jax.pruners import _words as pruning
from unlearn_jax.unlearners import _words


def make(
  *,
  unlearner: Mapping[str, Any],
  sparsity: float = 0.95,
  scope: pruning.Scope = 'auto',
  finetune: Mapping[str, Any] | None = None,
) -> Callable[[_words.Request], _words.Unlearned]:
  """The unlearner.

  Args:
    unlearner: `{'name': ..., ...}` with settings of it.
    sparsity: part of the kernels that becomes 0, the smallest of all layers.
    scope: 'auto', 'conv', 'dense', or paths of leaves, as of a pruner.
    finetune: settings of the fine-tuning between the two.
  """
  pruning.check_sparsity(sparsity)
  pruning.check_scope(scope)
  settings = dict(unlearner)
  name = settings.pop('name', None)
  if not hasattr(registry.get('unlearners', name), 'READS'):
    raise errors.ConfigError(f'{name} does not hold weights where they are')
  forget = registry.make('unlearners', name, **settings)
  recover = registry.make('unlearners', 'finetune', **(finetune or {}))

  def unlearn(request: _words.Request) -> _words.Unlearned:
    _words.check(request, ())
    sparse = _pruned(request, sparsity, scope)
    recovered = recover(sparse)
    done = forget(sparse._replace(params=recovered.params))
    costs = zip(recovered.record, done.record, strict=True)
    return done._replace(record=_words.Record(*(a + b for a, b in costs)))

  return unlearn


def _pruned(request, sparsity, scope):
  """The request for models without their smallest kernels."""
  shapes = pruning.kernels(request, scope)
  count = pruning.count_of(1 - sparsity, shapes)
  leaves = trees.flatten(request.params)
  before = {path: np.ones(leaf.shape, bool) for path, leaf in leaves.items()}
  if request.kept is not None:
    before = trees.flatten(request.kept)
  # What is held already goes first: it would be 0 or out of reach.
  scores = {p: jnp.where(before[p], jnp.abs(leaves[p]), -1.0) for p in shapes}
  chosen = jax.device_get(pruning.of_each(scores, count))
  kept = {p: mask & chosen.get(p, True) for p, mask in before.items()}
  params = {
    path: np.where(chosen[path], leaf, np.zeros((), leaf.dtype))
    if path in chosen
    else leaf
    for path, leaf in leaves.items()
  }
  return request._replace(
    params=trees.unflatten(params), kept=trees.unflatten(kept)
  )
