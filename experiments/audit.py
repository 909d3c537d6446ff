r"""Rebuilds stages from clean data and compares them bit for bit.

  python experiments/audit.py --workdir=/tmp/s --level=E1
  python experiments/audit.py --workdir=/tmp/s --level=E2 --data=clean.npz

E1 checks what is served, E2 every stage, E3 also that no file is left that
depends on a deleted example. With --sample=q only q stages are rebuilt, drawn
anew each time, each from the stored one that it goes on from: who has tampered
with a part f of them is caught with probability 1 - (1 - f)^q. The file holds
x, y, id and maybe owner of everything that was not deleted, as the data set
stores them; without one, the survivors in the data set are taken. Exit code 1
if it does not pass.
"""

import sys

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_LEVEL = flags.DEFINE_enum(
  'level', None, ['E1', 'E2', 'E3'], 'What is checked.'
)
_DATA = flags.DEFINE_string(
  'data', None, 'An .npz that never held what was deleted.'
)
_SAMPLE = flags.DEFINE_integer(
  'sample', None, 'Rebuild only so many stages.', lower_bound=1
)
_HEAD = flags.DEFINE_string(
  'head', None, 'Of the log, kept elsewhere: refuse a system rolled back.'
)


def main():
  summary = operations.audit(
    _WORKDIR.value,
    _LEVEL.value,
    _DATA.value,
    sample=_SAMPLE.value,
    head=_HEAD.value,
  )
  door.show(summary, f'{_WORKDIR.value}/audit.json')
  if not summary['passed']:
    sys.exit(operations.why_failed(summary))


if __name__ == '__main__':
  door.run(main, required=['workdir', 'level'], all_cores=True, together=True)
