r"""Estimates datamodels from models of subsets, and scores attributions.

  python experiments/datamodels.py --config=configs/dmm_digits.py --workdir=/tmp/a

The linear datamodeling score (LDS) of every attributor: the rank correlation of
its predictions with the margins of models of subsets that it never saw, with a
95 % interval over the subsets. The datamodel of the logits is kept in
`<workdir>/datamodel`.
"""

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file('config', None, 'What to run.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the results.')


def main():
  summary = experiment.attribute(_CONFIG.value, _WORKDIR.value)
  door.table(summary['rows'])
  facts = {name: value for name, value in summary.items() if name != 'rows'}
  door.show(facts, f'{_WORKDIR.value}/datamodels.json')


if __name__ == '__main__':
  door.run(main, required=['config', 'workdir'], all_cores=True)
