r"""Trains what deletions and additions have left missing, and only that.

  python experiments/repair.py --workdir=/tmp/s

Afterwards the system is bit for bit one that never saw the deleted examples;
`audit.py --level=E2` checks it.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')


def main():
  summary = operations.repair(_WORKDIR.value)
  door.show(summary, f'{_WORKDIR.value}/repair.json')


if __name__ == '__main__':
  door.run(main)
