"""Your own arrays: a small MLP on an `.npz` with x, y, id and maybe owner.

  python experiments/fit.py --config=configs/npz.py --workdir=/tmp/mine \
    --config.data.file=mine.npz --config.data.num_classes=10

A fifth of the owners, chosen by a hash of their ids, is the test split.
Variants: `:classification` (default), `:regression`, `:smoke`.
"""

from ml_collections import config_dict

from unlearn_jax import fields


def get_config(variant='classification'):
  fields.check_variant(variant, ['classification', 'regression', 'smoke'])
  c = fields.fit_config()
  c.data.name = 'npz'
  c.data.file = 'mine.npz'
  c.data.task = 'regression' if variant == 'regression' else 'classification'
  c.data.num_classes = config_dict.placeholder(int)
  c.data.mean = 0.0  # declared, never computed from the data
  c.data.std = 1.0
  c.data.ids = 'key'  # 'row' when the row number is a stable name
  c.data.test_percent = 20.0
  c.model.name = 'mlp'
  c.model.hidden = (128, 64)
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 1e-3
  c.optimizer.weight_decay = 1e-4
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 64
  c.epochs = 20
  if variant == 'smoke':
    c.batch_size, c.epochs = 4, 1
  return c.lock()
