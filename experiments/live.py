r"""Follows systems that serve while requests to delete come.

  python experiments/live.py --workdir=/tmp/l

Streams are simulated from measured stage times and depth curves: accuracy,
served depth and availability over time for every policy of the config. Then a
tiny system is trained, deleted from and repaired for real, beside what was
predicted of it. `report.py` makes a page of it.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment
from unlearn_jax.study import live

_CONFIG = config_flags.DEFINE_config_file(
  'config', door.config('plan_s3t_fashion.py'), 'What was measured, who asks.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the results.')


def main():
  summary = experiment.live(_CONFIG.value, _WORKDIR.value)
  for found in summary['rates']:
    print(f'{found["rate"]:g} requests a day')
    door.table(live.table(found['lines']))
  if summary['real']:
    print('predicted / measured, for real')
    door.table(live.real_table(summary['real']['rows']))
  door.show({'seconds': summary['seconds']}, f'{_WORKDIR.value}/live.json')


if __name__ == '__main__':
  door.run(main)
