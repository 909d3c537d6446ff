r"""Issues the certificate of a deletion, as things stand now.

  python experiments/certificate.py --workdir=/tmp/s --request=2
  python experiments/verify.py /tmp/s/certificates/2.json --head=HEAD --workdir=/tmp/s

`repair.py` issues one for each request that it erases. One that is issued again
tells of the stages that there are by then.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_REQUEST = flags.DEFINE_integer(
  'request', None, 'Its number, as `delete.py` has printed it.', lower_bound=1
)


def main():
  summary = operations.certificate(_WORKDIR.value, _REQUEST.value)
  door.show(summary, f'{_WORKDIR.value}/certificate.json')


if __name__ == '__main__':
  door.run(main, required=['workdir', 'request'])
