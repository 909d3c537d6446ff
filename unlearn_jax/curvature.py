"""The Gauss-Newton matrix of a loss, never formed: its products, and to solve
with products alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


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


def solve(
  product: Callable[[Any], Any], right: Any, tolerance: Any, iterations: int
) -> tuple[Any, jax.Array]:
  """Conjugate gradients: x with `product(x)` = `right`, and products taken.

  Stops when the residual is `tolerance` times `right`, or after `iterations`.
  """

  def go_on(carry):
    _, _, _, square, count = carry
    return (square > tolerance**2 * first) & (count < iterations)

  def a_round(carry):
    x, residual, direction, square, count = carry
    bent = product(direction)
    step = square / dot(direction, bent)
    x = _add(x, step, direction)
    residual = _add(residual, -step, bent)
    now = dot(residual, residual)
    return x, residual, _add(residual, now / square, direction), now, count + 1

  first = dot(right, right)
  start = jax.tree.map(jnp.zeros_like, right)
  x, *_, count = jax.lax.while_loop(
    go_on, a_round, (start, right, right, first, jnp.zeros((), jnp.int32))
  )
  return x, count


def dot(left: Any, right: Any) -> jax.Array:
  """The inner product of two trees."""
  products = jax.tree.map(jnp.vdot, left, right)
  return sum(jax.tree.leaves(products))


def _add(left, factor, right):
  return jax.tree.map(lambda a, b: a + factor * b, left, right)
