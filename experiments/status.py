r"""What a system has, what is missing, what serves.

  python experiments/status.py --workdir=/tmp/s

With --head, as a deletion has once printed it, a system that was rolled back to
before is refused. It reads; what it changes is only the summary it leaves.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_HEAD = flags.DEFINE_string('head', None, 'Of the log, kept elsewhere.')


def main():
  summary = operations.status(_WORKDIR.value, head=_HEAD.value)
  door.show(summary, f'{_WORKDIR.value}/status.json')


if __name__ == '__main__':
  door.run(main, together=True)
