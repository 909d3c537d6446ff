"""Vision transformers of any size (Dosovitskiy et al., 2021), pre-norm.

`weights` starts the model from a file: AugReg-style `.npz`, Hugging Face style
`.safetensors`, or our own (see `_vit_weights.py`), or the small backbone that
comes with the package. The head is always fresh: it belongs to the task.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from unlearn_jax import errors, types
from unlearn_jax.models import _layers, _vit_weights

TINY = {'patch': 4, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 32}

# width, depth, heads, mlp_dim
_VARIANTS = {
  'micro': (96, 4, 4, 160),
  'tiny': (192, 12, 3, 768),
  'small': (384, 12, 6, 1536),
  'base': (768, 12, 12, 3072),
  'large': (1024, 24, 16, 4096),
}
_GELU = ('tanh', 'exact')
_POOLS = ('token', 'mean')


class _Attention(nn.Module):
  heads: int

  @nn.compact
  def __call__(self, x, context):
    n, tokens, width = x.shape

    def heads_of(name):
      y = _layers.Projection(width, name=name)(x, context)
      return y.reshape(n, tokens, self.heads, width // self.heads)

    query, key, value = (heads_of(name) for name in ('query', 'key', 'value'))
    scores = jnp.einsum('nqhd,nkhd->nhqk', query, key)
    mixed = _layers.softmax(scores * (width // self.heads) ** -0.5)
    y = jnp.einsum('nhqk,nkhd->nqhd', mixed, value).reshape(n, tokens, width)
    return _layers.Projection(width, name='out')(y, context)


class _Layer(nn.Module):
  heads: int
  mlp_dim: int
  dropout: float
  gelu: str
  norm_eps: float

  @nn.compact
  def __call__(self, x, context):
    def dropout(y, name):
      return _layers.Dropout(self.dropout, name=name)(y, context)

    y = nn.LayerNorm(self.norm_eps, name='norm_attention')(x)
    y = _Attention(self.heads, name='attention')(y, context)
    x = x + dropout(y, 'dropout_attention')
    y = nn.LayerNorm(self.norm_eps, name='norm_mlp')(x)
    y = _layers.Projection(self.mlp_dim, name='mlp_in')(y, context)
    y = dropout(nn.gelu(y, approximate=self.gelu == 'tanh'), 'dropout_hidden')
    y = _layers.Projection(x.shape[-1], name='mlp_out')(y, context)
    return x + dropout(y, 'dropout_mlp')


class _Vit(nn.Module):
  num_outputs: int
  patch: int
  width: int
  depth: int
  heads: int
  mlp_dim: int
  pool: str
  dropout: float
  gelu: str
  norm_eps: float

  @nn.compact
  def __call__(self, x, context):
    x = _layers.Projection(self.width, name='embedding')(
      _patches(x, self.patch), context
    )
    if self.pool == 'token':
      token = self.param('token', nn.initializers.zeros, (1, 1, self.width))
      token = jnp.broadcast_to(token, (len(x), 1, self.width))
      x = jnp.concatenate([token, x], axis=1)
    position = nn.initializers.normal(0.02)
    x = x + self.param('position', position, (1,) + x.shape[1:])
    x = _layers.Dropout(self.dropout, name='dropout')(x, context)
    for i in range(self.depth):
      x = _Layer(
        self.heads,
        self.mlp_dim,
        self.dropout,
        self.gelu,
        self.norm_eps,
        name=f'layer_{i}',
      )(x, context)
    x = nn.LayerNorm(self.norm_eps, name='norm')(x)
    x = x[:, 0] if self.pool == 'token' else jnp.mean(x, axis=1)
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


def _patches(x, patch):
  """Images [n, h, w, c] as rows of patches [n, h w / patch^2, patch^2 c]."""
  n, height, width, channels = x.shape
  if height % patch or width % patch:
    raise errors.ConfigError(
      f'patch {patch} does not divide an image of {height} x {width}'
    )
  x = x.reshape(n, height // patch, patch, width // patch, patch, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, patch * patch * channels)


def make(
  *,
  num_outputs: int,
  variant: str | None = None,
  patch: int = 16,
  width: int = 192,
  depth: int = 12,
  heads: int = 3,
  mlp_dim: int = 768,
  pool: Literal['token', 'mean'] = 'token',
  dropout: float = 0.0,
  gelu: Literal['tanh', 'exact'] = 'tanh',
  norm_eps: float = 1e-6,
  weights: str | None = None,
) -> types.Model:
  """The model.

  Args:
    num_outputs: classes, or targets of a regression.
    variant: 'micro' to 'large'; replaces width, depth, heads and mlp_dim.
    patch: side of a patch; divides the image's height and width.
    width: of a token.
    depth: number of layers.
    heads: of attention; divides width.
    mlp_dim: width of the hidden layer of each MLP.
    pool: what the head sees: a class 'token', or the 'mean' of the patches.
    dropout: rate, everywhere.
    gelu: 'tanh' (as in AugReg files) or 'exact' (as in Hugging Face ones).
    norm_eps: of the layer norms; Hugging Face files want 1e-12.
    weights: a file to start from, or 'mnist' for the packaged backbone. The
      position embedding is resized when the file's image size was another one.
  """
  if variant is not None:
    errors.check_choice('variant of vit', variant, _VARIANTS)
    width, depth, heads, mlp_dim = _VARIANTS[variant]
  errors.check_fraction('dropout', dropout)
  errors.check_choice('gelu', gelu, _GELU)
  errors.check_choice('pool', pool, _POOLS)
  if width % heads:
    raise errors.ConfigError(f'heads {heads} does not divide width {width}')
  module = _Vit(
    num_outputs,
    patch,
    width,
    depth,
    heads,
    mlp_dim,
    pool,
    dropout,
    gelu,
    norm_eps,
  )
  model = _layers.as_model(module)
  if weights is None:
    return model

  def init(key: jax.Array, x) -> types.Params:
    return _vit_weights.load(weights, model.init(key, x), gelu=gelu)

  return types.Model(init=init, forward=model.forward)
