r"""Deletes examples: when this returns, nothing that is served saw them.

  python experiments/delete.py --workdir=/tmp/s --ids=3,17
  python experiments/delete.py --workdir=/tmp/s --ids_file=ids.txt --repair=now
  python experiments/delete.py --workdir=/tmp/s --owners=ann,bob

One unknown id or owner refuses the whole request. A request that was given a
--name may be sent again, after a crash or a timeout: it is carried out once.
Keep the head that is printed where nobody else writes: it is what a certificate
is held against. Your own data file is not touched: remove the rows there
yourself; they are never read again.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_IDS = flags.DEFINE_list('ids', [], 'Ids of examples, comma separated.')
_IDS_FILE = flags.DEFINE_string('ids_file', None, 'A file of ids, one a line.')
_OWNERS = flags.DEFINE_list(
  'owners', [], 'Owners whose examples are deleted, all of them.'
)
_NAME = flags.DEFINE_string(
  'name', None, 'Of the request; the same one is answered as the first time.'
)
_REPAIR = flags.DEFINE_enum(
  'repair', 'none', ['none', 'now'], 'Whether to train again at once.'
)


def main():
  summary = operations.delete(
    _WORKDIR.value,
    ids=_IDS.value,
    ids_file=_IDS_FILE.value,
    owners=_OWNERS.value,
    name=_NAME.value,
    repair=_REPAIR.value == 'now',
  )
  door.show(summary, f'{_WORKDIR.value}/delete.json')


if __name__ == '__main__':
  door.run(main, all_cores=True, together=True)
