r"""Deletes training examples, and proves it, in less than three minutes.

  python experiments/quickstart.py

Adapts the packaged backbone to Fashion-MNIST (third_party/), sharded and
sliced so that it can forget; deletes three images; serves without them; trains
again what they had touched and erases their traces; then trains everything once
more from a file that never held them, and compares bit for bit. A small program
that knows nothing of this package checks the certificate.
"""

import pathlib
import subprocess
import sys

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file(
  'config', door.config('s3t_fashion.py:quick'), 'The recipe.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', 'runs/quickstart', 'Directory of the tour; started over each time.'
)


def main():
  summary = experiment.quickstart(_CONFIG.value, _WORKDIR.value)
  door.table(summary.pop('steps'))
  summary.pop('after')  # for `report.py`, which draws it
  door.show(summary, f'{_WORKDIR.value}/quickstart.json')
  if not summary['passed']:
    sys.exit('the audit did not pass: this machine does not repeat its bits')
  print('\nWhat a stranger sees of it:')
  _verify(summary)


def _verify(summary):
  """Runs the verifier as anybody would; fails as it does."""
  command = [
    str(pathlib.Path(__file__).with_name('verify.py')),
    summary['certificate'],
    f'--head={summary["head"]}',
    f'--workdir={_WORKDIR.value}/system',
  ]
  print('python', *command, flush=True)
  if subprocess.run([sys.executable, *command], check=False).returncode:
    sys.exit('the certificate was refused')


if __name__ == '__main__':
  door.run(main, required=(), all_cores=True)
