"""Your own table: a CSV file with declared columns, and people to forget (SISA).

  python experiments/train.py --config=configs/sisa_tabular.py --workdir=/tmp/s \
    --config.data.file=mine.csv

Copy this file and declare your columns: nothing is learned from the rows, not
even a mean. Rows of one owner go to one shard, so that
`delete.py --owners=ann` touches one. A fifth of the owners, chosen by a hash,
is the test split. Expected: depends on your table; a stage takes about a
second for 10,000 rows on 2 CPU cores.
Variant: `:smoke`, smaller and shorter.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.system_config()
  c.data.name = 'tabular'
  c.data.file = 'mine.csv'
  c.data.id = 'id'  # the column that names a row for good; never its number
  c.data.owner = 'person'
  c.data.label = 'answer'
  c.data.classes = ('no', 'yes')
  # Column -> its declared mean and standard deviation.
  c.data.numeric = {'age': (40.0, 15.0), 'income': (3000.0, 1500.0)}
  # Column -> the words it may hold.
  c.data.categorical = {'region': ('north', 'south')}
  c.data.missing = 'indicator'  # an empty number becomes the mean, and a flag
  c.data.test_percent = 20.0
  c.model.name = 'mlp'
  c.model.hidden = (128, 64)
  c.strategy = 'sisa'
  c.shards = 8
  c.slices = 4
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 1e-3
  c.optimizer.weight_decay = 1e-4
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 64
  c.epochs = 5
  if variant == 'smoke':
    c.model.hidden = (8,)
    c.shards, c.slices, c.batch_size, c.epochs = 2, 2, 4, 1
  return c.lock()
