import jax.numpy as jnp
import numpy as np
import scipy.special

from unlearn_jax import losses


def test_cross_entropy_is_the_textbook_one():
  rng = np.random.default_rng(0)
  logits, y = rng.normal(size=(6, 4)).astype(np.float32), np.arange(6) % 4
  log_p = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
  expected = -log_p[np.arange(6), y]
  np.testing.assert_allclose(losses.cross_entropy(logits, y), expected, 1e-5)
  smooth = losses.cross_entropy(logits, y, label_smoothing=0.1)
  target = 0.9 * np.eye(4)[y] + 0.1 / 4
  np.testing.assert_allclose(smooth, -(target * log_p).sum(1), 1e-5)


def test_squared_error_averages_over_targets():
  gap = losses.squared_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
  np.testing.assert_allclose(gap, [2.5])


def test_ties_go_to_the_lowest_class():
  logits = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
  assert losses.correct(logits, np.array([0, 1])).tolist() == [1, 1]


def test_the_mean_is_over_rows_that_count():
  values = jnp.array([1.0, 3.0, jnp.nan])
  assert losses.masked_mean(values, jnp.array([1.0, 1.0, 0.0])) == 2.0
  assert losses.masked_mean(values, jnp.zeros(3)) == 0.0


def test_the_margin_is_the_log_odds_of_the_label():
  logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32) * 9
  y = np.array([0, 1, 2, 3, 3])
  p = np.exp(-np.asarray(losses.cross_entropy(logits, y), np.float64))
  np.testing.assert_allclose(
    losses.margin(logits, y), np.log(p / (1 - p)), rtol=1e-4
  )
  # Where the odds themselves are no float any more.
  sure = np.array([[500.0, 0.0, 0.0]], np.float32)
  np.testing.assert_allclose(losses.margin(sure, np.zeros(1, int)), 499.30685)
