"""Influence functions: one damped Gauss-Newton step without the examples.

Koh and Liang, "Understanding Black-box Predictions via Influence Functions"
(ICML 2017). With summed losses (no 1/n) the parameters move by H_R^-1 times the
summed gradients of what is removed, and the logits by one forward derivative
along that. That the models' own gradient is not zero is ignored on purpose: it
is not the doing of those examples.

Near interpolation gradients and curvature both vanish, and the damping sets the
scale of the shifts: calibrate it, or them, on other examples.
"""

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, keys
from unlearn_jax.attributors import _additive, _sums, _words

SOLVERS = ('cg', 'krylov')


def make(
  *,
  solver: str = 'cg',
  damping: float = 1.0,
  steps: int = 100,
  tolerance: float = 1e-5,
  chunk: int = 512,
  seed: int = 0,
):
  """Shifts of all logits by removing a set, averaged over the models.

  Labels of integers mean cross entropy, targets of floats squared error.

  Args:
    solver: 'cg' solves for each F on what is left without it; 'krylov' spends
      its steps once, on the curvature of all examples, and every F then costs
      one pass (as in Schioppa et al., "Scaling Up Influence Functions", AAAI
      2022). Directions its steps have not seen count as flat, so that too few
      of them give shifts that are too large.
    damping: added to the curvature of the summed losses, beside the decay of
      the setting.
    steps: most products with the curvature, each one pass over the examples.
    tolerance: relative residual at which 'cg' stops.
    chunk: examples (times models) that go through the model at once.
    seed: of the vector that 'krylov' starts from.
  """
  errors.check_choice('solver', solver, SOLVERS)
  if not damping >= 0:
    raise errors.ConfigError(f'damping is not negative, got {damping}')

  def attribute(setting: _words.Setting) -> _words.Attribution:
    n, p = len(setting.x), len(setting.points)
    if solver == 'krylov' and not damping + setting.decay > 0:
      raise errors.ConfigError("solver 'krylov' needs a damping or a decay")
    examples = _sums.cut(setting.x, chunk), _sums.cut(setting.y, chunk)
    everyone = _sums.cut_weights(np.ones(n), chunk)
    points = _sums.cut(setting.points, chunk)

    def explore(params, examples):
      sums = _sums.Sums(setting, params, examples)
      return _krylov(sums, everyone, steps, seed)

    def shift_of(params, basis, examples, points, removed):
      sums = _sums.Sums(setting, params, examples)
      right = sums.gradient(removed)
      if solver == 'krylov':
        step = _low_rank(basis, right, damping + n * setting.decay)
      else:
        kept = everyone - removed
        diagonal = damping + jnp.sum(kept) * setting.decay
        step, _ = jax.scipy.sparse.linalg.cg(
          lambda v: sums.curvature(v, kept) + diagonal * v,
          right,
          tol=tolerance,
          maxiter=steps,
        )
      return jax.lax.map(lambda x: sums.along(step, x), points)

    shift_of_each = jax.vmap(shift_of, (0, 0, None, None, None))
    mean_shift = jax.jit(lambda *args: jnp.mean(shift_of_each(*args), axis=0))
    bases = None
    if solver == 'krylov':
      explore_each = jax.jit(jax.vmap(explore, (0, None)))
      with jax.default_matmul_precision('highest'):
        bases = explore_each(setting.params, examples)

    def shift(forgotten):
      removed = np.zeros(n)
      removed[_additive.positions(forgotten, n)] = 1
      removed = _sums.cut_weights(removed, chunk)
      # Accelerators round products by default; conjugate gradients stall on it.
      with jax.default_matmul_precision('highest'):
        shifts = mean_shift(setting.params, bases, examples, points, removed)
      return np.asarray(shifts).reshape(-1, shifts.shape[-1])[:p]

    return _words.Attribution('logits', shift)

  return attribute


def _krylov(sums, weight, steps, seed):
  """The largest curvatures found in a Krylov space, and their directions."""
  size = len(sums.flat)
  steps = min(steps, size)
  start = jax.random.normal(keys.stream(keys.root(seed), 'krylov'), (size,))

  def grow(i, carry):
    basis, products, vector = carry
    # Twice: once is not enough in float32, and a space that is exhausted goes
    # on in a new direction, that must be orthogonal too, or in none.
    for _ in range(2):
      vector = vector - (basis @ vector) @ basis
      vector = vector / jnp.maximum(jnp.linalg.norm(vector), 1e-30)
    product = sums.curvature(vector, weight)
    return basis.at[i].set(vector), products.at[i].set(product), product

  empty = jnp.zeros((steps, size))
  basis, products, _ = jax.lax.fori_loop(0, steps, grow, (empty, empty, start))
  projected = basis @ products.T
  values, vectors = jnp.linalg.eigh((projected + projected.T) / 2)
  return jnp.maximum(values, 0.0), vectors.T @ basis


def _low_rank(basis, right, diagonal):
  """Solves with the curvatures of the basis, and zero beyond it."""
  values, directions = basis
  inside = directions @ right
  rest = right - inside @ directions
  return (inside / (values + diagonal)) @ directions + rest / diagonal
