"""The 1,797 handwritten digits that scikit-learn carries, 8x8 grey.

The id of an image is its row in scikit-learn's order. Ids divisible by 5 are
the test split (360 images), the others the training split (1,437). A pixel is
0..16, so mean 0 and standard deviation 16 are declared: inputs lie in [0, 1].
"""

import numpy as np

from unlearn_jax import types
from unlearn_jax.data import _checks


def make(*, split: str = 'train') -> types.Dataset:
  """`split` is 'train', 'test' or 'all'."""
  # Here, not above: scikit-learn takes a second to import.
  from sklearn import datasets

  _checks.check_split(split)
  bunch = datasets.load_digits()
  ids = np.arange(len(bunch.target))
  chosen = {'train': ids % 5 != 0, 'test': ids % 5 == 0, 'all': ids >= 0}[split]
  # Stored as bytes: the floats of scikit-learn are whole numbers.
  return _checks.from_arrays(
    name='digits',
    where='scikit-learn digits',
    x=bunch.images[chosen, :, :, None].astype(np.uint8),
    y=bunch.target[chosen],
    ids=ids[chosen],
    task=types.Task('classification', 10),
    mean=0.0,
    std=16.0,
  )
