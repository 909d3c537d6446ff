"""442 patients that scikit-learn carries: a regression on ten measurements.

The target is how far diabetes went on within a year (25 to 346). The id of a
patient is the row in scikit-learn's order. Ids divisible by 5 are the test
split (89 patients), the others the training split. Means and standard deviations
are declared, in the units of the measurements.
"""

import numpy as np

from unlearn_jax import types
from unlearn_jax.data import _checks

# age, sex (1 or 2), body mass index, blood pressure, six of blood serum.
_MEAN = (50.0, 1.5, 26.0, 95.0, 190.0, 115.0, 50.0, 4.0, 4.6, 90.0)
_STD = (13.0, 0.5, 4.5, 14.0, 35.0, 30.0, 13.0, 1.3, 0.5, 12.0)
_TARGET = (150.0, 75.0)  # mean and standard deviation


def make(*, split: str = 'train') -> types.Dataset:
  """`split` is 'train', 'test' or 'all'."""
  # Here, not above: scikit-learn takes a second to import.
  from sklearn import datasets

  _checks.check_split(split)
  bunch = datasets.load_diabetes(scaled=False)
  ids = np.arange(len(bunch.target))
  chosen = {'train': ids % 5 != 0, 'test': ids % 5 == 0, 'all': ids >= 0}[split]
  mean, std = _TARGET
  return _checks.from_arrays(
    name='diabetes',
    where='scikit-learn diabetes',
    x=bunch.data[chosen].astype(np.float32),
    y=(bunch.target[chosen] - mean) / std,
    ids=ids[chosen],
    task=types.Task('regression', 1),
    mean=_MEAN,
    std=_STD,
  )
