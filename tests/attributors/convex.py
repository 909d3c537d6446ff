"""Convex problems whose retraining is known exactly, in plain NumPy."""

import functools

import numpy as np
import scipy.optimize
import scipy.special

from unlearn_jax import registry
from unlearn_jax.attributors import _words

DECAY = 0.01


@functools.cache
def logistic(classes, n=150, d=6, p=40, k=1):
  """A Setting: softmax regression trained to convergence."""
  rng = np.random.default_rng(classes)
  true = rng.normal(size=(d, classes))
  x = rng.normal(size=(n + p, d)).astype(np.float32)
  noisy = x @ true + rng.gumbel(size=(n + p, classes))
  y = np.argmax(noisy, axis=1).astype(np.int32)
  params = fit(x[:n], y[:n], classes)
  stacked = {
    'head': {
      name: np.repeat(leaf[None].astype(np.float32), k, axis=0)
      for name, leaf in params.items()
    }
  }
  apply = registry.make('models', 'linear', num_outputs=classes).apply
  return _words.Setting(apply, stacked, x[:n], y[:n], x[n:], y[n:], decay=DECAY)


def fit(x, y, classes):
  """Minimum of mean cross entropy + DECAY / 2 |parameters|^2, by Newton."""
  inputs = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
  target = np.eye(classes)[y]

  def value_and_slope(flat):
    w = flat.reshape(-1, classes)
    log_p = scipy.special.log_softmax(inputs @ w, axis=1)
    loss = -np.mean((target * log_p).sum(1)) + DECAY / 2 * flat @ flat
    slope = inputs.T @ (np.exp(log_p) - target) / len(x) + DECAY * w
    return loss, slope.ravel()

  def curved(flat, v):
    w, v = flat.reshape(-1, classes), v.reshape(-1, classes)
    prob = scipy.special.softmax(inputs @ w, axis=1)
    moved = inputs @ v
    moved = prob * (moved - (prob * moved).sum(1, keepdims=True))
    return (inputs.T @ moved / len(x) + DECAY * v).ravel()

  start = np.zeros(inputs.shape[1] * classes)
  found = scipy.optimize.minimize(
    value_and_slope,
    start,
    jac=True,
    hessp=curved,
    method='trust-ncg',
    options={'gtol': 1e-9},
  )
  assert np.abs(found.jac).max() < 1e-7
  w = found.x.reshape(-1, classes)
  return {'kernel': w[:-1], 'bias': w[-1]}


def retrained_shifts(setting, sets, classes):
  """[sets, p, classes] true changes of the logits of `setting`'s points."""

  def logits(kept):
    params = fit(setting.x[kept], setting.y[kept], classes)
    return setting.points @ params['kernel'] + params['bias']

  everyone = np.arange(len(setting.x))
  base = logits(everyone)
  return np.stack([logits(np.setdiff1d(everyone, f)) - base for f in sets])


def forget_sets(n, size, count=12):
  rng = np.random.default_rng(size)
  return [rng.choice(n, size, replace=False) for _ in range(count)]


def fit_line(predicted, true):
  """Correlation, and the slope of true against predicted through zero."""
  predicted, true = np.ravel(predicted), np.ravel(true)
  correlation = np.corrcoef(predicted, true)[0, 1]
  return correlation, predicted @ true / (predicted @ predicted)
