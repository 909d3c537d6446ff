"""Iterative magnitude pruning with rewinding (Frankle and Carbin, 2019)."""

from unlearn_jax import errors
from unlearn_jax.pruners import _rewinding, _words


def make(
  *,
  rounds: int = 14,
  rate: float = 0.2,
  rewind: str | int = 'init',
  mask_from: str = 'all',
  scope: _words.Scope = 'auto',
) -> _rewinding.Search:
  """The pruner: after k rounds 1 - (1 - rate)^k of the kernels are 0.

  Args:
    rounds: of training, each from the rewound weights; one more is the result.
    rate: part of the living kernels that a round drops.
    rewind: 'init', or an epoch.
    mask_from: 'all' rows, as published, or those the model itself may
      'retain': only then is a retrained model free of what is forgotten.
    scope: 'auto', 'conv', 'dense', or paths of leaves.
  """
  if rounds < 1:
    raise errors.ConfigError(f'rounds is at least 1, got {rounds}')
  if not 0 < rate < 1:
    raise errors.ConfigError(f'rate is between 0 and 1, got {rate}')
  return _rewinding.Search(
    fractions=[(1 - rate) ** (k + 1) for k in range(rounds)],
    rewind=rewind,
    mask_from=mask_from,
    scope=scope,
  )
