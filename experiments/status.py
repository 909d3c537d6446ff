r"""What a system has, what is missing, what serves.

  python experiments/status.py --workdir=/tmp/s

It reads; what it changes is only the summary it leaves.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')


def main():
  summary = operations.status(_WORKDIR.value)
  door.show(summary, f'{_WORKDIR.value}/status.json')


if __name__ == '__main__':
  door.run(main)
