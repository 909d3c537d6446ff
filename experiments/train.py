r"""Trains a system that can delete, or goes on where a training was killed.

  python experiments/train.py --config=configs/sisa_digits.py --workdir=/tmp/s

Any field of the config can be overridden, such as --config.shards=8. The
system belongs to its recipe: another one in the same directory is refused.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The recipe.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')


def main():
  summary = experiment.train(_CONFIG.value, _WORKDIR.value)
  door.show(summary, f'{_WORKDIR.value}/train.json')


if __name__ == '__main__':
  door.run(main, required=['config', 'workdir'], all_cores=True, together=True)
