r"""Admits examples that have come into the system's data set since.

  python experiments/add.py --workdir=/tmp/s --ids=1800,1801

`repair.py` then trains on them. An example that was deleted comes back only
with --allow_reinsert.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_IDS = flags.DEFINE_list('ids', None, 'Ids of examples, comma separated.')
_ALLOW_REINSERT = flags.DEFINE_bool(
  'allow_reinsert', False, 'Take back examples that were deleted.'
)


def main():
  summary = operations.add(
    _WORKDIR.value, _IDS.value, allow_reinsert=_ALLOW_REINSERT.value
  )
  door.show(summary, f'{_WORKDIR.value}/add.json')


if __name__ == '__main__':
  door.run(main, required=['workdir', 'ids'], together=True)
