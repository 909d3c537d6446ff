"""Products with the Gauss-Newton matrix of a loss, which is never formed."""

from collections.abc import Callable
from typing import Any

import jax


def gauss_newton(
  outputs: Callable[[Any], jax.Array],
  loss: Callable[[jax.Array], jax.Array],
  at: Any,
  vector: Any,
) -> Any:
  """J' H J `vector`: J is the derivative of `outputs` at `at`, H the second
  derivative of `loss`, a number, with respect to the outputs."""
  found, pull = jax.vjp(outputs, at)
  _, moved = jax.jvp(outputs, (at,), (vector,))
  _, bent = jax.jvp(jax.grad(loss), (found,), (moved,))
  return pull(bent)[0]
