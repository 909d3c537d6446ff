r"""Compares unlearned models with oracles that never saw what was forgotten.

  python experiments/benchmark.py --config=configs/bench_digits.py --workdir=/tmp/b
  python experiments/benchmark.py --config=configs/dmm_digits.py --workdir=/tmp/d

The first kind of config compares every method on every forget set by a panel of
metrics: differences to retrained models, where = marks what oracles also show
among each other; `report.py` makes a page of it. The second is of datamodel
matching: a table of KLoM at its 95th percentile, over what was forgotten, what stays and
what was never trained on, mean and range over the seeds; and how often an attacker
tells an unlearned model from a retrained one at what was forgotten (.5 is a
coin). Two rows frame it: other oracles (the floor, nothing can be better) and
the models as they were.
Finished seeds are kept: the same command goes on after an interruption.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to run.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the results.')


def main():
  summary = experiment.benchmark(_CONFIG.value, _WORKDIR.value)
  door.table(experiment.shown(summary))
  tables = ('rows', 'leaderboard', 'device')
  facts = {name: of for name, of in summary.items() if name not in tables}
  door.show(facts, f'{_WORKDIR.value}/benchmark.json')


if __name__ == '__main__':
  door.run(main, required=['config', 'workdir'], all_cores=True)
