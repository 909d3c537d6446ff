"""What the models are built of, and the door from Flax to `types.Model`.

Written for equal bits as much as for speed: a convolution can be one matrix
product (which keeps its bits and its speed inside a loop on a CPU), softmax
multiplies by a reciprocal, dropout belongs to the example and not to its place
in the batch, and batch statistics ignore padding.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from unlearn_jax import keys, types

ConvMode = Literal['im2col', 'native']
CONV_MODES = ('im2col', 'native')


class Adapter(NamedTuple):
  """A low-rank change of one projection: y + scale * (x a) b, if it is on."""

  a: jax.Array  # [inputs, rank]
  b: jax.Array  # [rank, outputs]
  on: jax.Array  # scalar bool
  scale: float


class Context(NamedTuple):
  """What a layer may know about the call, beside its input."""

  train: bool = False
  keys: jax.Array | None = None  # [batch] typed keys
  weight: jax.Array | None = None  # [batch]
  adapters: Mapping[str, Adapter] | None = None  # by path of the projection


def as_model(module: nn.Module) -> types.Model:
  """A `types.Model` from a Flax module `module(x, context)`.

  The module returns (logits, features). Its variables of collection 'stats'
  become the subtree 'stats' of the parameters.
  """

  def init(key, x):
    shape = jax.ShapeDtypeStruct(jnp.shape(x), jnp.float32)
    variables = _init_program(module, shape)(key)
    return _join(variables['params'], variables.get('stats'))

  def forward(params, x, *, key=None, train=False, weight=None, adapters=None):
    context = Context(train, _row_keys(key, len(x)), weight, adapters)
    weights = {k: v for k, v in params.items() if k != 'stats'}
    variables = {'params': weights}
    if 'stats' not in params:
      logits, features = module.apply(variables, x, context)
      return types.Forward(logits, features)
    variables['stats'] = params['stats']
    (logits, features), moved = module.apply(
      variables, x, context, mutable=['stats']
    )
    return types.Forward(logits, features, moved['stats'] if train else None)

  return types.Model(init=init, forward=forward)


@functools.lru_cache(maxsize=64)
def _init_program(module: nn.Module, shape: jax.ShapeDtypeStruct):
  """Initialization compiled once; the forward pass in it is dead code."""
  return jax.jit(
    lambda key: module.init(key, jnp.zeros(shape.shape), Context())
  )


def _join(weights, stats) -> types.Params:
  return dict(weights) if stats is None else {**weights, 'stats': stats}


def _row_keys(key: jax.Array | None, rows: int) -> jax.Array | None:
  if key is None or key.ndim:
    return key
  return jax.vmap(lambda row: keys.stream(key, 'row', row))(jnp.arange(rows))


class Projection(nn.Module):
  """x kernel + bias, with an adapter when the context carries one."""

  outputs: int
  kernel_init: Any = nn.initializers.lecun_normal()
  use_bias: bool = True

  @nn.compact
  def __call__(self, x, context: Context):
    kernel = self.param('kernel', self.kernel_init, (x.shape[-1], self.outputs))
    y = x @ kernel
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.outputs,))
      y = y + _per_channel(bias, y.ndim)
    adapter = (context.adapters or {}).get('/'.join(self.path))
    if adapter is None:
      return y
    # A selection and not a product with 0: what is off leaves no bit behind,
    # whatever it holds. And of a and b as well as of the result, or NaN in
    # them would come back by the gradient, which multiplies them by 0.
    a, b = (jnp.where(adapter.on, m, 0.0) for m in (adapter.a, adapter.b))
    return jnp.where(adapter.on, y + adapter.scale * ((x @ a) @ b), y)


class Dropout(nn.Module):
  """Dropout whose mask is a function of the row's own key."""

  rate: float

  @nn.compact
  def __call__(self, x, context: Context):
    if not self.rate or not context.train:
      return x
    if context.keys is None:
      raise ValueError('a model with dropout needs `key` in training mode')
    name = '/'.join(self.path)

    def keep(key):
      key = keys.stream(key, name)
      return jax.random.bernoulli(key, 1 - self.rate, x.shape[1:])

    return jnp.where(jax.vmap(keep)(context.keys), x / (1 - self.rate), 0.0)


class Conv(nn.Module):
  """A convolution with an odd window.

  `window // 2` rows of zeros are around the image, or none without `padding`.
  """

  outputs: int
  window: int = 3
  stride: int = 1
  mode: ConvMode = 'im2col'
  use_bias: bool = True
  padding: bool = True

  @nn.compact
  def __call__(self, x):
    k, stride = self.window, self.stride
    zeros = k // 2 if self.padding else 0
    kernel = self.param(
      'kernel', nn.initializers.he_normal(), (k, k, x.shape[-1], self.outputs)
    )
    if self.mode == 'native':
      y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(zeros, zeros)] * 2,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
    else:
      y = _shifted(x, k, stride, zeros) @ kernel.reshape(-1, self.outputs)
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.outputs,))
      y = y + _per_channel(bias, y.ndim)
    return y


def _shifted(x, k, stride, zeros):
  """The k * k shifted copies of an image, side by side in the channels."""
  height, width = (
    (size + 2 * zeros - k) // stride + 1 for size in x.shape[1:3]
  )
  padded = jnp.pad(x, ((0, 0), (zeros, zeros), (zeros, zeros), (0, 0)))
  return jnp.concatenate(
    [
      padded[
        :,
        row : row + (height - 1) * stride + 1 : stride,
        column : column + (width - 1) * stride + 1 : stride,
      ]
      for row in range(k)
      for column in range(k)
    ],
    axis=-1,
  )


class BatchNorm(nn.Module):
  """Batch normalization whose statistics are weighted by the rows' weights.

  Padding therefore leaves no trace. The running statistics are state: they
  stand under 'stats' in the parameters, and in every digest.
  """

  momentum: float = 0.9
  eps: float = 1e-5

  @nn.compact
  def __call__(self, x, context: Context):
    channels = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean = self.variable('stats', 'mean', jnp.zeros, (channels,))
    var = self.variable('stats', 'var', jnp.ones, (channels,))
    scale, bias = _per_channel(scale, x.ndim), _per_channel(bias, x.ndim)
    if not context.train:
      return _normalized(x, mean.value, var.value, self.eps) * scale + bias
    weight = context.weight
    weight = jnp.ones(len(x)) if weight is None else weight
    weight = jnp.broadcast_to(
      weight.reshape((-1,) + (1,) * (x.ndim - 1)), x.shape[:-1] + (1,)
    )
    # A weight of 0 is not enough: 0 times NaN is NaN.
    x = jnp.where(weight > 0, x, 0.0)
    axes = tuple(range(x.ndim - 1))
    total = jnp.maximum(jnp.sum(weight), 1.0)
    batch_mean = jnp.sum(x * weight, axes) / total
    centered = x - _per_channel(batch_mean, x.ndim)
    batch_var = jnp.sum(centered**2 * weight, axes) / total
    # A batch of nothing but padding has no statistics to add.
    rate = jnp.where(jnp.sum(weight) > 0, 1 - self.momentum, 0.0)
    mean.value = mean.value + rate * (batch_mean - mean.value)
    var.value = var.value + rate * (batch_var - var.value)
    return _normalized(x, batch_mean, batch_var, self.eps) * scale + bias


def _normalized(x, mean, var, eps):
  centered = x - _per_channel(mean, x.ndim)
  return centered * _per_channel(jax.lax.rsqrt(var + eps), x.ndim)


def _per_channel(values, rank: int):
  """[channels] as an array of `rank` axes that broadcasts along the last."""
  return values.reshape((1,) * (rank - 1) + (-1,))


class Norm(nn.Module):
  """Group normalization (per example), or batch normalization."""

  kind: Literal['group', 'batch']
  groups: int = 8

  @nn.compact
  def __call__(self, x, context: Context):
    if self.kind == 'batch':
      return BatchNorm(name='batch')(x, context)
    groups = self.groups
    while x.shape[-1] % groups:
      groups -= 1
    return nn.GroupNorm(groups, name='group')(x)


def max_pool(x):
  """The largest of each 2 x 2 window; an odd last row or column is left out."""
  n, height, width, channels = x.shape
  x = x[:, : height // 2 * 2, : width // 2 * 2]
  x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
  return jnp.max(x, axis=(2, 4))


def softmax(scores):
  """Softmax as a product with a reciprocal.

  A compiler may or may not turn the usual division into one, depending on how
  a program is partitioned, and the two differ in the last bit.
  """
  e = jnp.exp(
    scores - jax.lax.stop_gradient(jnp.max(scores, -1, keepdims=True))
  )
  return e * (1.0 / jnp.sum(e, -1, keepdims=True))
