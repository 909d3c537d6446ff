r"""Plans, and serving under load, for the system of `s3t_fashion.py`.

  python experiments/plan.py --config=configs/plan_s3t_fashion.py --workdir=/tmp/p
  python experiments/live.py --config=configs/plan_s3t_fashion.py --workdir=/tmp/l

What was measured stands in `measured_s3t_fashion.json`, with the command of each
layout: CPU seconds of a step at each depth, bytes of a stage, and test accuracy
of every mixture of served depths; one device, seed 0, one system each.
The recipes of SISA and retraining train all blocks at once, and for that at a
quarter of the learning rate: at that of S3T full retraining ends at 68.9 %.
Expected, at the least accuracy of .8: 10 shards of 2 slices in one order, repaired
every day, hour, quarter of an hour and at once for 10, 100, 1,000 and 3,000
requests a day (80.6 to 81.3 %, 2.4 to 3.8 device seconds a served request); SISA
costs 15 to 16 and serves at 83.2 to 83.6 %, full retraining 39 to 148. Of the
real run: samples and depths exactly as predicted; in three runs of four streams on
idle cores CPU time was -12.5 to +12.8 % off, the wall clock -13.8 to +12.3 %.
A minute on 2 CPU cores, and 76 seconds for `live.py`.
Variants: `:skewed`, a tenth of the examples makes nine tenths of the requests;
`:owners`, one unit in five is an owner of 20 rows; `:smoke`, few of everything.
"""

import json
import pathlib

from unlearn_jax import fields

_MEASURED = pathlib.Path(__file__).with_name('measured_s3t_fashion.json')


def get_config(variant=''):
  fields.check_variant(variant, ['skewed', 'owners', 'smoke'])
  c = fields.plan_config()
  c.profiles = json.loads(_MEASURED.read_text())
  c.examples = 10_000
  c.rates = (10.0, 100.0, 1000.0, 3000.0)
  c.requests, c.windows = 200, (0.25, 1.0, 6.0, 24.0)
  c.accuracy, c.availability = 0.8, 0.999
  s3t = {'profile': 'S3T', 'budget': 4}
  full = {'profile': 'retraining', 'budget': 1}
  c.lines = {
    'S3T, repaired at once': {**s3t, 'policy': 'at once'},
    'S3T, repaired every hour': {**s3t, 'policy': 'window', 'hours': 1.0},
    'S3T, made again when dead': {**s3t, 'policy': 'when dead'},
    'S3T without repair': {**s3t, 'policy': 'never'},
    'SISA': {'profile': 'SISA', 'budget': 1, 'policy': 'at once'},
    'batch retraining': {**full, 'policy': 'window', 'hours': 1.0},
    'full retraining': {**full, 'policy': 'at once'},
  }
  c.live.rates = (100.0, 1000.0, 3000.0)
  c.real.recipe = {
    'data': {'name': 'digits'},
    'model': {'name': 'mlp', 'hidden': (64,)},
    'shards': 4,
    'slices': 3,
    'sequences': {'kind': 'cyclic', 'budget': 2},
    'optimizer': {'name': 'adam', 'learning_rate': 3e-3},
    'batch_size': 32,
    'epochs': 20,
  }
  c.real.requests, c.real.batches, c.real.seeds = 50, (1, 5), (0, 1)
  if variant == 'skewed':
    c.groups = [
      {'units': 0.1, 'requests': 0.9, 'rows': 1},
      {'units': 0.9, 'requests': 0.1, 'rows': 1},
    ]
  if variant == 'owners':
    c.groups = [
      {'units': 0.8, 'requests': 0.8, 'rows': 1},
      {'units': 0.2, 'requests': 0.2, 'rows': 20},
    ]
  if variant == 'smoke':
    c.rates, c.requests, c.streams = (100.0,), 5, 2
    c.budgets, c.windows = (1,), (1.0,)
    c.live.rates, c.live.requests, c.live.streams = (100.0,), 5, 2
    c.real.seeds = ()
  return c.lock()
