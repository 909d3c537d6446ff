r"""Rebuilds stages from clean data and compares them bit for bit.

  python experiments/audit.py --workdir=/tmp/s --level=E1
  python experiments/audit.py --workdir=/tmp/s --level=E2 --data=clean.npz

E1 checks what is served, E2 every stage. The file holds x, y, id and maybe
owner of everything that was not deleted, as the data set stores them; without
one, the survivors in the data set are taken. Exit code 1 if it does not pass.
"""

import sys

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_LEVEL = flags.DEFINE_enum('level', None, ['E1', 'E2'], 'What is checked.')
_DATA = flags.DEFINE_string(
  'data', None, 'An .npz that never held what was deleted.'
)


def main():
  summary = operations.audit(_WORKDIR.value, _LEVEL.value, _DATA.value)
  door.show(summary, f'{_WORKDIR.value}/audit.json')
  if not summary['passed']:
    sys.exit(operations.why_failed(summary))


if __name__ == '__main__':
  door.run(main, required=['workdir', 'level'], all_cores=True)
