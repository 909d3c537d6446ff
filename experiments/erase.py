r"""Removes the files that depend on deleted examples, without training.

  python experiments/erase.py --workdir=/tmp/s

`repair.py` does it too. Who will not repair for long gets rid of them at once
with this; but only what is repaired counts as erased, and is certified.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')


def main():
  summary = operations.erase(_WORKDIR.value)
  door.show(summary, f'{_WORKDIR.value}/erase.json')


if __name__ == '__main__':
  door.run(main, together=True)
