"""A small convolutional network with group normalization."""

from collections.abc import Sequence

from flax import linen as nn

from unlearn_jax import errors, types
from unlearn_jax.models import _layers

TINY = {'widths': (4, 8), 'hidden': 16}


class _Cnn(nn.Module):
  num_outputs: int
  widths: tuple[int, ...]
  hidden: int
  dropout: float
  conv: _layers.ConvMode

  @nn.compact
  def __call__(self, x, context):
    for i, width in enumerate(self.widths):
      x = _layers.Conv(width, mode=self.conv, name=f'conv_{i}')(x)
      x = nn.relu(_layers.Norm('group', name=f'norm_{i}')(x, context))
      x = _layers.max_pool(x)
    x = x.reshape(len(x), -1)
    x = nn.relu(_layers.Projection(self.hidden, name='hidden')(x, context))
    x = _layers.Dropout(self.dropout, name='dropout')(x, context)
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


def make(
  *,
  num_outputs: int,
  widths: Sequence[int] = (16, 32),
  hidden: int = 64,
  dropout: float = 0.0,
  conv: _layers.ConvMode = 'im2col',
) -> types.Model:
  """Blocks of convolution, norm, ReLU, 2 x 2 pooling, then two dense layers.

  Args:
    num_outputs: classes, or targets of a regression.
    widths: channels of each block; an image halves in size with each.
    hidden: width of the dense layer.
    dropout: rate before the last layer.
    conv: 'im2col' for loops on a CPU, 'native' for accelerators. Both compute
      the same function with other bits, so the choice is part of a recipe.
  """
  errors.check_fraction('dropout', dropout)
  errors.check_choice('conv', conv, _layers.CONV_MODES)
  return _layers.as_model(
    _Cnn(num_outputs, tuple(widths), hidden, dropout, conv)
  )
