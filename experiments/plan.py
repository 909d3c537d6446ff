r"""Proposes shards, slices, sequences and when to repair, for a rate of requests.

  python experiments/plan.py --workdir=/tmp/p
  python experiments/plan.py --workdir=/tmp/p --config.rates='(10.,1000.)' \
    --config.accuracy=0.8 --config.availability=0.999

The cheapest choice that keeps the promised level, by device time a served
request, beside plain SISA, S3T without repair, batch and full retraining.
Layouts are those that the config holds measurements of; `measure.py` makes
them. Pictures of the trade-offs are in <workdir>, and `report.py` makes a page.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment
from unlearn_jax.study import planning

_CONFIG = config_flags.DEFINE_config_file(
  'config', door.config('plan_s3t_fashion.py'), 'What was measured, who asks.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the results.')


def main():
  summary = experiment.plan(_CONFIG.value, _WORKDIR.value)
  for found in summary['rates']:
    print(f'{found["rate"]:g} requests a day')
    if found['proposal'] is None:
      print('nothing that was measured keeps the level')
    door.table(planning.table(found))
  facts = {k: summary[k] for k in ('level', 'pictures', 'seconds')}
  door.show(facts, f'{_WORKDIR.value}/plan.json')


if __name__ == '__main__':
  door.run(main)
