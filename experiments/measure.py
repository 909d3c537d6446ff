r"""Measures what the planner needs to know of a layout.

  python experiments/measure.py --config=configs/s3t_fashion.py --workdir=/tmp/m

Trains a system in <workdir>/system on one device, then deletes from it and
times the repairs: seconds of a step at each depth, seconds before the first,
bytes of a stage, and the accuracy when only some shards, or the first slices,
answer. <workdir>/measure.json holds it twice, by the clock on the wall and by
CPU time; either is a profile for `configs/plan_s3t_fashion.py`.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax.study import measuring

_CONFIG = config_flags.DEFINE_config_file('config', None, 'The recipe.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'New directory.')
_NAME = flags.DEFINE_string('name', 'system', 'What to call the profile.')
_ROUNDS = flags.DEFINE_integer(
  'rounds', 1, 'Of the repairs that are timed.', lower_bound=1
)


def main():
  summary = measuring.measure(
    _CONFIG.value.to_dict(),
    _WORKDIR.value,
    name=_NAME.value,
    rounds=_ROUNDS.value,
  )
  door.show(summary, f'{_WORKDIR.value}/measure.json')


if __name__ == '__main__':
  door.run(main, required=['config', 'workdir'])
