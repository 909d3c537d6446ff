"""Why matching outputs works where descent does not: ridge with n < d.

The retrained model has, in closed form, t_S - t_R = (X_R'X_R + lam I)^-1 X_F'
(y_F - X_F t_S). Descent on the retained examples moves the part of that which
is orthogonal to all of them only through lam. Matching the outputs of the
retrained model also sees F, and has no noise: all targets can be met at once.
"""

import functools

import numpy as np
import pytest

N, D, FORGOTTEN, LAM, BATCH = 100, 400, 5, 0.01, 5
REPORTED = (10, 100, 1000)


@functools.cache
def _problem():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N, D)) * 0.2
  y = x @ rng.normal(size=D) + 0.5 * rng.normal(size=N)
  return x, y, _ridge(x, y), _ridge(x[FORGOTTEN:], y[FORGOTTEN:])


def _ridge(x, y):
  return np.linalg.solve(x.T @ x + LAM * np.eye(D), x.T @ y)


def _distances(make_step):
  """Median relative distance to the retrained model at the reported steps.

  Over draws of the batches: when the first of them holds a row of F is chance.
  """
  _, _, base, oracle = _problem()
  found = []
  for seed in range(7):
    t, step = base, make_step(np.random.default_rng(seed))
    for i in range(1, REPORTED[-1] + 1):
      t = step(t)
      if i in REPORTED:
        found.append(np.linalg.norm(t - oracle))
  found = np.reshape(found, (-1, len(REPORTED))) / np.linalg.norm(base - oracle)
  return np.median(found, axis=0)


def _descent(ascent=0.0):
  """Full-batch descent on R, and ascent on F, at 1 / Lipschitz of R's loss."""
  x, y, *_ = _problem()
  kept, gone = slice(FORGOTTEN, None), slice(FORGOTTEN)
  rate = 1 / (np.linalg.norm(x[kept], 2) ** 2 + LAM)

  def step(t):
    slope = x[kept].T @ (x[kept] @ t - y[kept]) + LAM * t
    slope -= ascent * x[gone].T @ (x[gone] @ t - y[gone])
    return t - rate * slope

  return lambda rng: step


def _matching(update, chosen, passes=False):
  """Moves the outputs on a random batch of `chosen` to the oracle's."""
  x, _, _, oracle = _problem()

  def make_step(rng):
    left = []

    def step(t):
      if not left:
        left.extend(rng.permutation(chosen))
      batch = left[:BATCH]
      # Without passes, the next batch is drawn from everyone again.
      left[: BATCH if passes else len(left)] = []
      return t + update(x[batch], x[batch] @ (oracle - t))

    return step

  return make_step


def _kaczmarz(rows, gap):
  return np.linalg.lstsq(rows, gap)[0]


def _sgd(rows, gap):
  return 0.03 * rows.T @ gap


EVERYONE = np.arange(N)
A_FIFTH = np.arange(FORGOTTEN + (N - FORGOTTEN) // 5)  # F, and of R a fifth


def test_the_closed_form_of_forgetting():
  x, y, t, oracle = _problem()
  gone, kept = x[:FORGOTTEN], x[FORGOTTEN:]
  pull = gone.T @ (y[:FORGOTTEN] - gone @ t)
  moved = np.linalg.solve(kept.T @ kept + LAM * np.eye(D), pull)
  np.testing.assert_allclose(t - oracle, moved, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
  'make_step, expected',
  [
    (_descent(), (1.0, 0.97, 0.76)),
    (_descent(ascent=0.05), (1.0, 0.93, 8.7e5)),
    (_matching(_kaczmarz, EVERYONE), (0.69, 0.15, 1.9e-7)),
    (_matching(_sgd, EVERYONE), (0.85, 0.26, 3.9e-4)),
    (_matching(_kaczmarz, EVERYONE, passes=True), (0.5, 0.03, 5e-12)),
    (_matching(_kaczmarz, A_FIFTH), (0.45, 0.45, 0.45)),
  ],
  ids=['descent', 'ascent', 'kaczmarz', 'sgd', 'passes', 'a fifth of R'],
)
def test_distances(make_step, expected):
  found = _distances(make_step)
  # Order of magnitude: the problem itself is a draw, too.
  within = np.where(np.abs(np.log10(expected)) < 0.2, 1.3, 5.0)
  within = np.where(np.abs(np.log10(expected)) > 3, 10.0, within)
  assert (found < expected * within).all(), found
  assert (found > expected / within).all(), found
