r"""Which metrics notice planted leaks, on the digits.

  python experiments/leaks.py --config=configs/leaks_digits.py --workdir=/tmp/l

Expected, in percent of 20 trials that are noticed at 5 % false positives, for
0, 1, 2, 5, 10 and 100 % of the forget set kept (1 % is a single example) and
for two edits of the head alone (b: of a bias, c: of a column). Seed 0; all of
20 trials is 84 to 100 %, one of them 1 to 24 %. Where nothing is kept 4.1 %
are noticed, over all metrics.

                          a class                          at random
                          0   1   2   5  10 100   b   c    0   1   2   5  10 100
UA                        0 100 100 100 100 100   0   0   15   5  10  15  25 100
RA                        0   0   0   0   0   0   0   0    0   0   0   0   0   0
TA                        5  85 100 100 100 100  10  10    5   0  10   0  10  15
MIA                       0  80 100 100 100 100   0   0   10   0  20  35  35 100
logistic MIA              0 100 100 100 100 100 100 100    5  10  15  25  30 100
RMIA                      0 100 100 100 100 100 100 100   10  10  10   5  10 100
gap                       5 100 100 100 100 100   5   5   10   0   5   5  10 100
ToW                       5 100 100 100 100 100   5   5   20  10   0   0  10 100
ToW-MIA                   5  85 100 100 100 100   5   5   10   5   0   5   5 100
KLoM forget               0 100 100 100 100 100 100 100    5   5  10  15  20 100
KLoM forget, corrected    0 100 100 100 100 100 100 100    5   5   0  10  20 100
KLoM retain               0 100 100 100 100 100 100 100    5  10   5   5  10 100
KLoM retain, corrected    5 100 100 100 100 100 100 100    0   5   0   0   5 100
KLoM test                10 100 100 100 100 100 100 100    0   0   0   0   0  55
KLoM test, corrected      0 100 100 100 100 100 100 100    0  10  10   0   5  90
told apart                0 100 100 100 100 100 100 100    0   0   5  10  15 100
forgetting quality        0 100 100 100 100 100 100 100    0   5   5   5   5 100
activation distance       0  85 100 100 100 100 100 100    0   5  20  15  40 100
JS divergence             0  95 100 100 100 100 100 100    5   5  20  20  30 100
disagreement              0  75 100 100 100 100 100 100    0  10  10  10   5  65
ZRF                       0 100 100 100  40 100 100 100   15  10  15  35  55 100
CKA forget                5   0  15  15  40 100 100 100   10   5   0   0   5  10
CKA forget, to original  10  15  15   5   5  65 100 100    0   0   0   5   5   5
CKA test                  5   0  10  20   5  60  75  75   10  10   0   0  10   5
CKA test, to original     5   5   5   5  25  95 100 100    0   5   0   5  10   0
k-NN                      5   5   0   5  25  90  90  90    0   0   5   0   0   0
relearn                   0   0   5  45 100 100   0   0   20   5  15  15  20 100
distance                  0  10   5  15  15  20 100  30    5  15  10   5   0  30

9.9 minutes of CPU time, so 5 minutes of 2 cores at the very least; it took 30
minutes where ten other programs shared them.
Variant: `:smoke`, few of everything.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.leaks_config()
  c.model = {'name': 'mlp', 'hidden': (64, 32), 'init': 'he'}
  c.optimizer = {'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9}
  c.schedule = {'name': 'linear', 'warmup': 0.2}
  c.epochs = 30
  if variant == 'smoke':
    c.rows, c.control_rows, c.validation_rows, c.epochs = 150, 40, 150, 3
    c.models, c.few, c.null_trials, c.trials = 6, 3, 19, 2
    c.forget_sets = {'class': {'kind': 'class', 'size': 0}}
    c.forget_size, c.leaks, c.edits = 10, (1.0,), ('head bias',)
    c.metrics = ('accuracy', 'klom', 'game', 'features')
  return c.lock()
