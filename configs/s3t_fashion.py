"""The packaged backbone on Fashion-MNIST, one LoRA block a slice (S3T).

  python experiments/train.py --config=configs/s3t_fashion.py --workdir=/tmp/s

5 shards of 4 slices, learned in 4 rotated orders: 80 stages, each training one
block of adapters and its head. 10,000 private rows, the first of the file; the
backbone has seen MNIST only, which is declared public.
Expected: 82.9 % test accuracy (82.7 to 83.0, seeds 0, 1, 2), in two minutes on
2 CPU cores. Fine-tuning the backbone in full on these rows gives 85.6 %.
Variants: `:full`, all 60,000 rows, not run yet; `:quick`, the size of the quickstart;
`:smoke`, few rows, smaller and shorter.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['full', 'quick', 'smoke'])
  c = fields.system_config()
  c.data.name = 'fashion_mnist'
  c.data.rows = 10_000  # the first of the file; the test split stays whole
  c.model.name = 'lora'
  c.model.base = {'name': 'vit', 'variant': 'micro', 'patch': 7}
  c.model.base.weights = 'mnist'
  c.model.blocks = 4  # as many as slices
  c.model.rank = 8
  attention, mlp = ('query', 'key', 'value', 'out'), ('mlp_in', 'mlp_out')
  c.model.targets = attention + mlp
  c.strategy = 's3t'
  c.shards = 5
  c.slices = 4
  c.sequences.kind = 'cyclic'
  c.sequences.budget = 4
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 4e-3
  c.optimizer.weight_decay = 0.05
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.label_smoothing = 0.1
  c.batch_size = 16
  c.epochs = 5
  if variant == 'full':
    c.data.rows = 60_000
    c.batch_size = 64
  if variant == 'quick':
    c.data.rows, c.shards, c.epochs = 2_000, 2, 4
  if variant == 'smoke':
    c.data.rows = 64
    c.shards, c.sequences.budget, c.batch_size, c.epochs = 2, 2, 8, 1
  return c.lock()
