r"""What a trained system is worth at every depth of its sequences.

  python experiments/depths.py --workdir=/tmp/s

The test accuracy when every shard has only the first k of its stages left:
what deletions cost until the repair, and what a deeper chain is worth. Beside
it, all sequences averaged instead of one, and the ways to combine shards.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')


def main():
  summary = operations.depths(_WORKDIR.value)
  door.table(summary['depths'])
  door.show(summary['combined'], f'{_WORKDIR.value}/depths.json')


if __name__ == '__main__':
  door.run(main)
