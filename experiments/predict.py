r"""Answers with whatever may be used now.

  python experiments/predict.py --workdir=/tmp/s --input=x.npz --output=y.npz

The input holds `x` as the data set stores it (pixels as bytes, say); it is
normalized as the recipe declares. The output holds `predictions`, the combined
`logits`, `probabilities` or `votes`, and the `served_depths` of the shards.
"""

import door
from absl import flags

from unlearn_jax import operations

_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the system.')
_INPUT = flags.DEFINE_string('input', None, 'An .npz with an array x.')
_OUTPUT = flags.DEFINE_string('output', None, 'The .npz file to write.')


def main():
  summary = operations.predict(_WORKDIR.value, _INPUT.value, _OUTPUT.value)
  door.show(summary, f'{_WORKDIR.value}/predict.json')


if __name__ == '__main__':
  door.run(main, required=['workdir', 'input', 'output'])
