"""A system of convolutional networks on Fashion-MNIST (SISA).

  python experiments/train.py --config=configs/sisa_fashion.py --workdir=/tmp/s

5 shards of 4 slices; each stage trains all parameters on all slices so far.
Expected: 88.3 % test accuracy (seed 0), 20 stages, in about two minutes on 2 CPU
cores.
Variant: `:smoke`, few rows, smaller and shorter.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.system_config()
  c.data.name = 'fashion_mnist'
  c.data.rows = 60_000  # the first of the file
  c.model.name = 'cnn'
  c.model.widths = (16, 32)
  c.model.hidden = 64
  c.model.dropout = 0.25
  c.model.conv = 'im2col'  # 'native' on an accelerator
  c.strategy = 'sisa'
  c.shards = 5
  c.slices = 4
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 2e-3
  c.optimizer.weight_decay = 0.02
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 64
  c.epochs = 2
  if variant == 'smoke':
    c.data.rows = 64
    c.model.widths, c.model.hidden = (4, 4), 8
    c.shards, c.slices, c.batch_size, c.epochs = 2, 2, 8, 1
  return c.lock()
