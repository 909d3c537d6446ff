"""One Newton step to where the loss of what stays has its minimum.

After Koh and Liang (2017), as an unlearner by Izzo et al. (2021) and Jia et al.
(2023). The curvature is the Gauss-Newton matrix of the loss on what stays, and
the system is solved by conjugate gradients until the residual is small.

`form='legacy'` is the code behind the published tables. Its recursion for the
inverse never leaves the direction of the first gradient, so that it moves the
model along the plain difference of gradients.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import curvature, errors, trees
from unlearn_jax.unlearners import _door, _looks

READS = ('forget.x', 'forget.y', 'retain.x', 'retain.y')
TUNED = {'step': (0.1, 10.0), 'damping': (1e-5, 1e-1)}
_LEGACY_ROWS = 1000


def unlearn(
  model,
  params,
  data,
  key,
  *,
  step: float = 1.0,
  damping: float = 1e-3,
  tolerance: float = 1e-3,
  iterations: int = 100,
  form: str = 'newton',
):
  """Gradients of all rows once, then a pass over what stays an iteration.

  Args:
    step: how much of the step is taken; 1 is Newton's. The tables of the legacy
      form used 1 to 100.
    damping: added to the curvature of the mean loss. Where a model fits its
      data the curvature vanishes, and this alone bounds the step. The default
      is from digits.
    tolerance: residual, relative to the right side, at which the solver stops.
    iterations: of the solver, at most.
    form: 'newton' or 'legacy'.
  """
  errors.check_choice('form', form, ('newton', 'legacy'))
  goes, stays = (
    _looks.mean_gradient(model, params, data, rows, data.loss)
    for rows in (data.forget, data.retain)
  )
  part = data.forget.count / (data.forget.count + data.retain.count)
  right = jax.tree.map(lambda f, r: part * (f - r), goes, stays)
  if data.kept is not None:
    right = _only(data.kept, right)
  if form == 'newton':
    move = _solved(model, params, data, right, damping, tolerance, iterations)
  else:
    move = _swept(model, params, data, right)
  live, frozen = trees.partition(params, model.trainable)
  return trees.merge(
    frozen, jax.tree.map(lambda p, m: p + step * m, live, move)
  )


def _solved(model, params, data, right, damping, tolerance, iterations):
  """The damped curvature's inverse times `right`, by conjugate gradients."""
  live, frozen = trees.partition(params, model.trainable)
  rows = data.retain

  def product(vector):
    def of_batch(batch):
      return curvature.gauss_newton(
        lambda live: model.apply(trees.merge(frozen, live), batch.x),
        lambda z: jnp.sum(batch.weight * data.loss(z, batch.y)),
        live,
        vector,
      )

    bent = _looks.total(of_batch, rows)
    if data.kept is not None:  # what is held is no direction at all
      bent = _only(data.kept, bent)
    return jax.tree.map(lambda b, v: b / rows.count + damping * v, bent, vector)

  # Accelerators round products by default; conjugate gradients stall on it.
  with jax.default_matmul_precision('highest'):
    move, count = curvature.solve(product, right, tolerance, iterations)
  data.spend('gradients', count * rows.count)
  return move


def _swept(model, params, data, right):
  """The published recursion, over the first rows in the order of the file."""
  live, frozen = trees.partition(params, model.trainable)
  count = min(_LEGACY_ROWS + 2, len(data.retain.id))
  rows = jax.tree.map(
    lambda leaf: leaf[:count], data.retain._replace(count=None)
  )
  data.spend('gradients', jnp.minimum(count, data.retain.count))

  def gradient(x, y):
    def loss(live):
      logits = model.apply(trees.merge(frozen, live), x[None])
      return data.loss(logits, y[None])[0]

    return jax.grad(loss)(live)

  def sweep(carry, row):
    move, direction = carry
    g = gradient(row.x, row.y)
    along = curvature.dot(direction, g)
    scale = row.weight / (_LEGACY_ROWS + along)  # 0 for padding
    share = scale * curvature.dot(move, g)
    move = jax.tree.map(lambda m, o: m - share * o, move, direction)
    direction = jax.tree.map(lambda o: o - scale * along * o, direction)
    return (move, direction), None

  first = gradient(rows.x[0], rows.y[0])
  rest = jax.tree.map(lambda leaf: leaf[1:], rows)
  return jax.lax.scan(sweep, (right, first), rest)[0][0]


def _only(kept, tree):
  return jax.tree.map(lambda keep, leaf: jnp.where(keep, leaf, 0.0), kept, tree)


make = _door.door(unlearn, READS)
