r"""Makes one page of what a work directory holds.

  python experiments/report.py --workdir=/tmp/b

Of a benchmark: leaderboards against retraining, trade-offs, each number with its
floor, margins, relearning, classes, tuned settings. Of a study of matching:
KLoM and margins. Of an exact system: its requests over time, what served, its
audits. Of a plan: what each choice costs and keeps; of a live stream: what served
when, beside a real run. Everything is in `<workdir>/report.html`, which loads nothing else; the
pictures are in `<workdir>/report/` as PNG too.
"""

import door
from absl import flags

from unlearn_jax.study.report import page

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Directory of a study, a plan or a system.'
)


def main():
  found = page.write(_WORKDIR.value)
  for sentence in found['lead']:
    print(sentence)
  door.show({'pictures': len(found['pictures'])}, found['page'])


if __name__ == '__main__':
  door.run(main)
