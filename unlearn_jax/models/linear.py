"""A linear map: logistic regression, or ridge when the optimizer decays it."""

from flax import linen as nn

from unlearn_jax import types
from unlearn_jax.models import _layers

TINY = {}


class _Linear(nn.Module):
  num_outputs: int

  @nn.compact
  def __call__(self, x, context):
    x = x.reshape(len(x), -1)
    # The problem is convex: zero is as good a start as any, and needs no seed.
    head = _layers.Projection(
      self.num_outputs, nn.initializers.zeros, name='head'
    )
    return head(x, context), x


def make(*, num_outputs: int) -> types.Model:
  """The model; inputs of any shape are flattened."""
  return _layers.as_model(_Linear(num_outputs))
