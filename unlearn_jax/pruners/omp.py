"""One-shot magnitude pruning with rewinding (Ma et al., 2021)."""

from unlearn_jax.pruners import _rewinding, _words


def make(
  *,
  sparsity: float = 0.95,
  rewind: str | int = 'init',
  mask_from: str = 'all',
  scope: _words.Scope = 'auto',
) -> _rewinding.Search:
  """The pruner.

  Args:
    sparsity: part of the kernels that is 0.
    rewind: 'init', or an epoch; published tables took the eighth of 182.
    mask_from: 'all' rows, as published, or those the model itself may
      'retain': only then is a retrained model free of what is forgotten.
    scope: 'auto', 'conv', 'dense', or paths of leaves.
  """
  _words.check_sparsity(sparsity)
  return _rewinding.Search(
    fractions=(1 - sparsity,),
    rewind=rewind,
    mask_from=mask_from,
    scope=scope,
  )
