"""A multilayer perceptron."""

from collections.abc import Sequence

from flax import linen as nn

from unlearn_jax import errors, types
from unlearn_jax.models import _layers

TINY = {'hidden': (16,)}


class _Mlp(nn.Module):
  num_outputs: int
  hidden: tuple[int, ...]
  dropout: float

  @nn.compact
  def __call__(self, x, context):
    x = x.reshape(len(x), -1)
    for i, width in enumerate(self.hidden):
      x = nn.relu(_layers.Projection(width, name=f'layer_{i}')(x, context))
      x = _layers.Dropout(self.dropout, name=f'dropout_{i}')(x, context)
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


def make(
  *,
  num_outputs: int,
  hidden: Sequence[int] = (64, 32),
  dropout: float = 0.0,
) -> types.Model:
  """ReLU layers of widths `hidden`; inputs of any shape are flattened."""
  errors.check_fraction('dropout', dropout)
  return _layers.as_model(_Mlp(num_outputs, tuple(hidden), dropout))
