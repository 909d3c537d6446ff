r"""Pretrains a vision transformer on public data and exports its backbone.

  python experiments/pretrain.py --workdir=/tmp/vit_mnist \
    --config.data.folder=FOLDER --output=vit_micro_mnist.safetensors

The file holds everything but the head, with the command, the seed and the
digest that made it in its metadata. Models take it through `weights=`.
"""

import sys

import door
from absl import flags
from ml_collections import config_flags

from unlearn_jax import experiment

_CONFIG = config_flags.DEFINE_config_file(
  'config', door.config('vit_mnist.py'), 'What to run.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the run.')
_OUTPUT = flags.DEFINE_string('output', None, 'The .safetensors file to write.')
_OVERWRITE = flags.DEFINE_bool(
  'overwrite', False, 'Start over when the directory holds another run.'
)


def main():
  summary = experiment.pretrain(
    _CONFIG.value,
    _WORKDIR.value,
    _OUTPUT.value,
    argv=sys.argv,
    overwrite=_OVERWRITE.value,
  )
  door.show(summary, f'{_WORKDIR.value}/pretrain.json')


if __name__ == '__main__':
  door.run(main, required=['workdir', 'output'])
