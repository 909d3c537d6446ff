"""A multilayer perceptron."""

from collections.abc import Sequence

from flax import linen as nn

from unlearn_jax import errors, types
from unlearn_jax.models import _layers

TINY = {'hidden': (16,)}
_INITS = {
  'lecun': nn.initializers.lecun_normal(),
  'he': nn.initializers.variance_scaling(2.0, 'fan_in', 'normal'),
}


class _Mlp(nn.Module):
  num_outputs: int
  hidden: tuple[int, ...]
  dropout: float
  kernel_init: nn.initializers.Initializer

  @nn.compact
  def __call__(self, x, context):
    x = x.reshape(len(x), -1)
    for i, width in enumerate(self.hidden):
      layer = _layers.Projection(width, self.kernel_init, name=f'layer_{i}')
      x = nn.relu(layer(x, context))
      x = _layers.Dropout(self.dropout, name=f'dropout_{i}')(x, context)
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


def make(
  *,
  num_outputs: int,
  hidden: Sequence[int] = (64, 32),
  dropout: float = 0.0,
  init: str = 'lecun',
) -> types.Model:
  """ReLU layers of widths `hidden`; inputs of any shape are flattened.

  `init` is of the hidden layers: 'lecun' (variance 1 / inputs) or 'he' (twice
  that).
  """
  errors.check_fraction('dropout', dropout)
  errors.check_choice('init of mlp', init, _INITS)
  return _layers.as_model(
    _Mlp(num_outputs, tuple(hidden), dropout, _INITS[init])
  )
