"""The Gaussians that attackers fit to margins."""

import numpy as np

NARROWEST = 1e-3  # standard deviation of a fit: equal margins make no wall


def log_density(x, mean, deviation):
  """Up to the constant that all of them share."""
  return -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation)
