"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28 grey, 10 classes.

Han Xiao et al., arXiv:1708.07747; MIT licence. Taken from the first of:
the `folder` named; `third_party/fashion_mnist` beside the package (a clone has
it, a wheel does not); a set that TFDS prepared on this machine, which brings
its own ids and is logged.

Ids: 0..59,999 in the training file, 60,000 + row in the test file. Pixels stay
bytes; the declared normalization is mean 72.94 and standard deviation 90.02,
the published statistics of the training images (0.2860 and 0.3530 of 255).
"""

import os
import pathlib

import numpy as np

import unlearn_jax
from unlearn_jax import errors, types
from unlearn_jax.data import _idx

MEAN, STD = 72.94, 90.02
SHA256 = {
  'train-images-idx3-ubyte.gz': (
    '3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84'
  ),
  'train-labels-idx1-ubyte.gz': (
    'a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845'
  ),
  't10k-images-idx3-ubyte.gz': (
    '346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073'
  ),
  't10k-labels-idx1-ubyte.gz': (
    '67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5'
  ),
}


def make(
  *,
  split: str = 'train',
  folder: str | os.PathLike | None = None,
  verify: bool = True,
  rows: int | None = None,
) -> types.Dataset:
  """Builds a split.

  Args:
    split: 'train', 'test' or 'all'.
    folder: where the four `.gz` files are; nothing else is tried then.
    verify: refuse files other than the official ones.
    rows: only that many training images, the first of the file. The test
      split is always whole.
  """
  if rows is not None and split == 'all':
    raise errors.ConfigError("rows is for split='train', not for 'all'")
  found = _load(split, folder, verify)
  if rows is None or split == 'test':
    return found
  if not 1 <= rows <= len(found):
    raise errors.ConfigError(f'rows is between 1 and {len(found)}, got {rows}')
  return found.subset(np.arange(rows))


def _load(split, folder, verify):
  beside = pathlib.Path(unlearn_jax.__file__).parents[1]
  cloned = beside / 'third_party' / 'fashion_mnist'
  if folder is None and cloned.is_dir():
    folder = cloned
  return _idx.load(
    folder,
    name='fashion_mnist',
    split=split,
    mean=MEAN,
    std=STD,
    sha256=SHA256,
    verify=verify,
    others=f' Or: work in a clone, which has them (looked in {cloned}).',
  )
