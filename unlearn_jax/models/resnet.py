"""Residual networks of 9 and 18 layers for small and large images.

Depth 18 is the network of He et al. (2016); depth 9 the wide shallow one that
speed runs on CIFAR made common: convolutions with two residual pairs, in a wide
and a light form. Group normalization is the default, because it keeps examples
apart; batch normalization couples them and its statistics become part of the
state.
"""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn

from unlearn_jax import errors, types
from unlearn_jax.models import _layers

TINY = {'width': 4}


class _ConvNorm(nn.Module):
  outputs: int
  norm: str
  conv: _layers.ConvMode
  window: int = 3
  stride: int = 1
  padding: bool = True

  @nn.compact
  def __call__(self, x, context):
    x = _layers.Conv(
      self.outputs,
      self.window,
      self.stride,
      self.conv,
      use_bias=False,
      padding=self.padding,
      name='conv',
    )(x)
    return _layers.Norm(self.norm, name='norm')(x, context)


class _Block(nn.Module):
  """Two convolutions and a shortcut, projected where the shape changes."""

  outputs: int
  stride: int
  norm: str
  conv: _layers.ConvMode

  @nn.compact
  def __call__(self, x, context):
    y = _ConvNorm(
      self.outputs, self.norm, self.conv, stride=self.stride, name='first'
    )(x, context)
    y = _ConvNorm(self.outputs, self.norm, self.conv, name='second')(
      nn.relu(y), context
    )
    if self.stride != 1 or x.shape[-1] != self.outputs:
      x = _ConvNorm(
        self.outputs, self.norm, self.conv, 1, self.stride, name='shortcut'
      )(x, context)
    return nn.relu(x + y)


class _ResNet18(nn.Module):
  num_outputs: int
  width: int
  norm: str
  conv: _layers.ConvMode
  stem: str

  @nn.compact
  def __call__(self, x, context):
    window, stride = (7, 2) if self.stem == 'large' else (3, 1)
    x = _ConvNorm(
      self.width, self.norm, self.conv, window, stride, name='stem'
    )(x, context)
    x = nn.relu(x)
    if self.stem == 'large':
      x = _layers.max_pool(x)
    for stage in range(4):
      for block in range(2):
        stride = 2 if stage and not block else 1
        x = _Block(
          self.width * 2**stage,
          stride,
          self.norm,
          self.conv,
          name=f'layer_{2 * stage + block}',
        )(x, context)
    x = jnp.mean(x, axis=(1, 2))
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


class _ResNet9(nn.Module):
  num_outputs: int
  width: int
  norm: str
  conv: _layers.ConvMode

  @nn.compact
  def __call__(self, x, context):
    def conv_norm(width, name):
      return _ConvNorm(width, self.norm, self.conv, name=name)

    x = nn.relu(conv_norm(self.width, 'stem')(x, context))
    for i, width in enumerate((2, 4, 8)):
      width *= self.width
      x = nn.relu(conv_norm(width, f'conv_{i}')(x, context))
      x = _layers.max_pool(x)
      if i != 1:
        x = _Block(width, 1, self.norm, self.conv, name=f'layer_{i}')(
          x, context
        )
    x = jnp.max(x, axis=(1, 2))
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


class _LightResNet9(nn.Module):
  num_outputs: int
  width: int
  norm: str
  conv: _layers.ConvMode

  @nn.compact
  def __call__(self, x, context):
    def conv_norm(width, name, *shape, **rest):
      layer = _ConvNorm(width, self.norm, self.conv, *shape, name=name, **rest)
      return nn.relu(layer(x, context))

    def pair(name):
      block = _Pair(x.shape[-1], self.norm, self.conv, name=name)
      return block(x, context)

    x = conv_norm(self.width, 'stem')
    x = conv_norm(2 * self.width, 'conv_0', 5, 2)
    x = pair('layer_0')
    x = _layers.max_pool(conv_norm(4 * self.width, 'conv_1'))
    x = pair('layer_1')
    x = conv_norm(2 * self.width, 'conv_2', padding=False)
    x = jnp.max(x, axis=(1, 2))
    head = _layers.Projection(self.num_outputs, use_bias=False, name='head')
    return 0.2 * head(x, context), x


class _Pair(nn.Module):
  """x and two convolutions of it, each with its own rectification."""

  outputs: int
  norm: str
  conv: _layers.ConvMode

  @nn.compact
  def __call__(self, x, context):
    y = x
    for name in ('first', 'second'):
      layer = _ConvNorm(self.outputs, self.norm, self.conv, name=name)
      y = nn.relu(layer(y, context))
    return x + y


def make(
  *,
  num_outputs: int,
  depth: Literal[9, 18] = 9,
  width: int = 64,
  norm: Literal['group', 'batch'] = 'group',
  stem: Literal['small', 'large'] = 'small',
  form: Literal['wide', 'light'] = 'wide',
  conv: _layers.ConvMode = 'im2col',
) -> types.Model:
  """The model.

  Args:
    num_outputs: classes, or targets of a regression.
    depth: 9 or 18.
    width: channels of the first stage; later ones double it.
    norm: 'group' or 'batch'.
    stem: of depth 18; 'small' (3 x 3, stride 1) for images of about 32 pixels,
      'large' (7 x 7, stride 2, pooling) for those of about 224.
    form: of depth 9; 'wide', or 'light': the network of 2.3 million parameters,
      logits times 0.2, that published tables of unlearning on CIFAR-10 used.
    conv: 'im2col' for loops on a CPU, 'native' for accelerators.
  """
  errors.check_choice('depth', depth, (9, 18))
  errors.check_choice('norm', norm, ('group', 'batch'))
  errors.check_choice('stem', stem, ('small', 'large'))
  errors.check_choice('form', form, ('wide', 'light'))
  errors.check_choice('conv', conv, _layers.CONV_MODES)
  if depth == 18:
    errors.check_choice('form of depth 18', form, ('wide',))
    return _layers.as_model(_ResNet18(num_outputs, width, norm, conv, stem))
  errors.check_choice('stem of depth 9', stem, ('small',))
  module = {'wide': _ResNet9, 'light': _LightResNet9}[form]
  return _layers.as_model(module(num_outputs, width, norm, conv))
