import functools

import jax
import numpy as np
import pytest

from tests.attributors import convex
from unlearn_jax import losses, registry


@functools.cache
def _setting():
  return convex.logistic(4)


def test_a_score_is_what_one_step_on_the_example_does():
  """To the margins at the points, for a step small enough to be a line."""
  setting, rate = _setting(), 1e-3
  params = jax.tree.map(lambda leaf: leaf[0], setting.params)

  @jax.jit
  def loss(params, x, y):
    return losses.cross_entropy(setting.apply(params, x), y)[0]

  @jax.jit
  def margins(params):
    return losses.margin(setting.apply(params, setting.points), setting.labels)

  make = functools.partial(registry.make, 'attributors', 'grad_dot')
  scores = make(rate=rate, dim=None)(setting).scores
  # An example that is not learned well, so that the step does something.
  i = int(np.argmax(np.abs(scores).sum(axis=1)))
  slope = jax.grad(loss)(params, setting.x[[i]], setting.y[[i]])
  after = jax.tree.map(lambda a, g: a - rate * g, params, slope)
  moved = np.asarray(margins(after) - margins(params))
  np.testing.assert_allclose(scores[i], moved, rtol=0.02, atol=1e-5)


@pytest.mark.parametrize('dim, correlation', [(64, 0.85), (4096, 0.995)])
def test_projected_products_estimate_them(dim, correlation):
  make = functools.partial(registry.make, 'attributors', 'grad_dot')
  exact = make(dim=None)(_setting()).scores
  found = make(dim=dim)(_setting()).scores
  got = convex.fit_line(found, exact)
  assert got[0] > correlation and 0.7 < got[1] < 1.2, got


def test_noise_has_its_scale_and_its_seed():
  make = functools.partial(registry.make, 'attributors', 'random')
  scores = make(scale=3.0)(_setting()).scores
  assert abs(scores.std() - 3) < 0.1 and abs(scores.mean()) < 0.2
  assert (make(scale=3.0, seed=1)(_setting()).scores != scores).all()
