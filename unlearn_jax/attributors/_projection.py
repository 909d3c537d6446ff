"""Random projections that nobody holds: made again, block by block.

Row j of the matrix is a function of the key and of j alone, so cutting the
parameters into other blocks gives the same projection, and the matrix for all
parameters (millions of rows) never stands in memory.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import errors

KINDS = ('rademacher', 'gaussian')
_WORD = 32  # signs in one random word


def matrix(key, first, count: int, dim: int, kind: str):
  """Rows `first`..`first + count`, [count, dim], with E[P P'] = I.

  That keeps units: products of projected gradients estimate products of
  gradients, whatever `dim` is.
  """
  at = jnp.uint32(first) + jnp.arange(count, dtype=jnp.uint32)
  row_keys = jax.vmap(lambda j: jax.random.fold_in(key, j))(at)
  draw = _signs if kind == 'rademacher' else _normals
  return jax.vmap(lambda k: draw(k, dim))(row_keys) * dim**-0.5


def project(vector, key, *, dim: int | None, kind: str, block: int):
  """`vector` [parameters] times the matrix, [dim]; itself if `dim` is None.

  Under `vmap` over vectors each block is drawn once for all of them.
  """
  if dim is None:
    return vector
  block = min(block, len(vector))
  count = -(-len(vector) // block)
  padded = jnp.pad(vector, (0, count * block - len(vector)))

  def add(total, part):
    i, piece = part
    rows = matrix(key, i * block, block, dim, kind)
    return total + jnp.matmul(piece, rows, precision='highest'), None

  parts = jnp.arange(count), padded.reshape(count, block)
  return jax.lax.scan(add, jnp.zeros(dim), parts)[0]


def check(dim: int | None, kind: str, block: int) -> None:
  """Refuses settings that no projection has."""
  errors.check_choice('projection', kind, KINDS)
  for name, size in (('dim', dim), ('block', block)):
    if size is not None and size < 1:
      raise errors.ConfigError(f'{name} is at least 1, got {size}')


def _signs(key, dim: int):
  words = jax.random.bits(key, (-(-dim // _WORD),), jnp.uint32)
  bits = (words[:, None] >> jnp.arange(_WORD, dtype=jnp.uint32)[None]) & 1
  return 2.0 * bits.reshape(-1)[:dim].astype(jnp.float32) - 1.0


def _normals(key, dim: int):
  return jax.random.normal(key, (dim,))
