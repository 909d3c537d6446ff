r"""Trains what deletions and additions have left missing, and only that.

  python experiments/repair.py --workdir=/tmp/s

Afterwards the system is bit for bit one that never saw the deleted examples;
`audit.py --level=E2` checks it. Stages that another machine or another version
of jax has made cannot be compared bit for bit here; --rebuild makes them anew.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_REBUILD = flags.DEFINE_bool(
  'rebuild', False, 'Also train anew what was made elsewhere.'
)


def main():
  summary = operations.repair(_WORKDIR.value, rebuild=_REBUILD.value)
  door.show(summary, f'{_WORKDIR.value}/repair.json')


if __name__ == '__main__':
  door.run(main, all_cores=True)
