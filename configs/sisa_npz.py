"""Your own arrays, and examples or people to forget (SISA).

  python experiments/train.py --config=configs/sisa_npz.py --workdir=/tmp/s \
    --config.data.file=mine.npz --config.data.num_classes=10
  python experiments/delete.py --workdir=/tmp/s --ids=ID,ID --repair=now

The file holds x, y, id and, if people own several rows, owner; see
`unlearn_jax/data/npz.py`. Declare mean and std of what you know: nothing is
computed from the rows. A fifth of the owners, chosen by a hash, is the test split
and never trained on. Expected: depends on your arrays; images are better served
by `--config.model.name=cnn --config.model.hidden=64`.
Variant: `:smoke`, smaller and shorter.
"""

from ml_collections import config_dict

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.system_config()
  c.data.name = 'npz'
  c.data.file = 'mine.npz'
  c.data.num_classes = config_dict.placeholder(int)
  c.data.mean = 0.0
  c.data.std = 1.0
  c.data.test_percent = 20.0
  c.model.name = 'mlp'
  c.model.hidden = (128, 64)
  c.strategy = 'sisa'
  c.shards = 4
  c.slices = 4
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 1e-3
  c.optimizer.weight_decay = 1e-4
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 64
  c.epochs = 10
  if variant == 'smoke':
    c.model.hidden = (8,)
    c.shards, c.slices, c.batch_size, c.epochs = 2, 2, 4, 1
  return c.lock()
