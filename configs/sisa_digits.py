"""A system of small MLPs on the 8 x 8 digits, that deletes exactly (SISA).

  python experiments/train.py --config=configs/sisa_digits.py --workdir=/tmp/s

4 shards of 3 slices, every stage goes on from the one before.
Expected: 96.7 % test accuracy (seed 0), 12 stages, within 15 seconds on 2 busy CPU
cores.
Variant: `:smoke`, smaller and shorter.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.system_config()
  c.data.name = 'digits'
  c.model.name = 'mlp'
  c.model.hidden = (128, 64)
  c.strategy = 'sisa'
  c.shards = 4
  c.slices = 3
  c.optimizer.learning_rate = 3e-3
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 32
  c.epochs = 20
  if variant == 'smoke':
    c.model.hidden = (16,)
    c.shards, c.epochs = 2, 1
  return c.lock()
