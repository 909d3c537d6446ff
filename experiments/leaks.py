r"""Plants leaks of a known size and asks which metrics notice them.

  python experiments/leaks.py --config=configs/leaks_digits.py --workdir=/tmp/l

A table for each forget set: of the trials with that part of the set kept, the
share that a metric notices, at 5 % false positives, with its 95 % interval. At
0 % nothing leaks, so 5 % is right. Edits of the head alone come last. The same
as a picture is in `<workdir>/leaks.png`.
Finished sizes are kept: the same command goes on after an interruption.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment
from unlearn_jax.study import leaks

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to run.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the results.')


def main():
  summary = experiment.leaks(_CONFIG.value, _WORKDIR.value)
  for name in dict.fromkeys(row['forget set'] for row in summary['rows']):
    print(f'power, forget set {name}')
    door.table(
      leaks.table([r for r in summary['rows'] if r['forget set'] == name])
    )
  facts = {name: value for name, value in summary.items() if name != 'rows'}
  door.show(facts, f'{_WORKDIR.value}/leaks.json')


if __name__ == '__main__':
  door.run(main, required=['config', 'workdir'], all_cores=True)
