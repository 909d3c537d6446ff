r"""How fast it is, as ratios against a baseline measured beside it.

  python experiments/speed.py --workdir=/tmp/speed --quick
  python experiments/speed.py --workdir=/tmp/speed --only=loop,planning

Every ratio is the median of pairs run in turn, with its quartiles; the machine
stands in the summary. --quick takes less than five minutes on 2 CPU cores.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax.study.speed import run

_CONFIG = config_flags.DEFINE_config_file(
  'config', door.config('s3t_fashion.py'), 'The system some of them train.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Where systems are made.')
_ONLY = flags.DEFINE_list('only', [], f'Of these: {", ".join(run.NAMES)}.')
_QUICK = flags.DEFINE_bool('quick', False, 'Fewer pairs, a smaller system.')


def main():
  summary = run.run(
    _ONLY.value,
    _WORKDIR.value,
    recipe=_CONFIG.value.to_dict(),
    quick=_QUICK.value,
  )
  print(run.table(summary))
  door.show({}, f'{_WORKDIR.value}/speed.json')


if __name__ == '__main__':
  door.run(main)
