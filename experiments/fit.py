r"""Trains one model on one data set, and evaluates it.

  python experiments/fit.py --config=configs/cnn_fashion.py --workdir=/tmp/cnn

Any field of the config can be overridden, such as --config.epochs=2. A run
that was interrupted goes on when the same command is given again.
"""

import sys

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to run.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the run.')
_OVERWRITE = flags.DEFINE_bool(
  'overwrite', False, 'Start over when the directory holds another run.'
)


def main():
  summary, _ = experiment.fit(
    _CONFIG.value,
    _WORKDIR.value,
    argv=sys.argv,
    overwrite=_OVERWRITE.value,
  )
  door.show(summary, f'{_WORKDIR.value}/fit.json')


if __name__ == '__main__':
  door.run(main, required=['config', 'workdir'])
