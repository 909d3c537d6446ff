r"""Something real in a minute: a small network learns Fashion-MNIST.

  python experiments/quickstart.py

Reads the images in third_party/, trains a convolutional network for two
passes, and reports its accuracy on the 10,000 test images.
"""

import sys

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file(
  'config', door.config('cnn_fashion.py:quick'), 'What to run.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', 'runs/quickstart', 'Directory of the run; started over each time.'
)


def main():
  summary, _ = experiment.fit(
    _CONFIG.value,
    _WORKDIR.value,
    binary='quickstart',
    argv=sys.argv,
    overwrite=True,
  )
  door.show(summary, f'{_WORKDIR.value}/quickstart.json')


if __name__ == '__main__':
  door.run(main)
