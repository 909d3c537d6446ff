r"""Trains what deletions and additions have left missing, and only that.

  python experiments/repair.py --workdir=/tmp/s

Afterwards the system is bit for bit one that never saw the deleted examples,
and no file of it depends on them; `audit.py --level=E3` checks it. Each request
that is erased by that gets a certificate, for `verify.py`. Stages that another
machine or another version of jax has made cannot be compared bit for bit here;
--rebuild makes them anew.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_REBUILD = flags.DEFINE_bool(
  'rebuild', False, 'Also train anew what was made elsewhere.'
)
_TAKE_OVER = flags.DEFINE_bool(
  'take_over',
  False,
  'Do not wait for a process that holds the system: shut it out.',
)


def main():
  summary = operations.repair(
    _WORKDIR.value, rebuild=_REBUILD.value, take_over=_TAKE_OVER.value
  )
  door.show(summary, f'{_WORKDIR.value}/repair.json')


if __name__ == '__main__':
  door.run(main, all_cores=True, together=True)
