"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey, 10 classes.

Y. LeCun, C. Cortes, C. Burges. Taken from the `folder` named, else from a set
that TFDS prepared on this machine, which brings its own ids and is logged.

Ids: 0..59,999 in the training file, 60,000 + row in the test file. Pixels stay
bytes; the declared normalization is mean 33.32 and standard deviation 78.57,
the published statistics of the training images (0.1307 and 0.3081 of 255).
"""

import os

from unlearn_jax import types
from unlearn_jax.data import _idx

MEAN, STD = 33.32, 78.57
SHA256 = {
  'train-images-idx3-ubyte.gz': (
    '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609'
  ),
  'train-labels-idx1-ubyte.gz': (
    '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c'
  ),
  't10k-images-idx3-ubyte.gz': (
    '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6'
  ),
  't10k-labels-idx1-ubyte.gz': (
    'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6'
  ),
}


def make(
  *,
  split: str = 'train',
  folder: str | os.PathLike | None = None,
  verify: bool = True,
) -> types.Dataset:
  """Builds a split.

  Args:
    split: 'train', 'test' or 'all'.
    folder: where the four `.gz` files are; nothing else is tried then.
    verify: refuse files other than the official ones.
  """
  return _idx.load(
    folder,
    name='mnist',
    split=split,
    mean=MEAN,
    std=STD,
    sha256=SHA256,
    verify=verify,
  )
