"""A small convolutional network on Fashion-MNIST, from third_party/.

  python experiments/fit.py --config=configs/cnn_fashion.py --workdir=/tmp/cnn

Expected: 91.8 % test accuracy (91.5 to 92.0 over seeds 0, 1, 2), in about a
minute on 2 CPU cores.
Variants: `:quick`, two passes, for the quickstart; `:smoke`, a few steps.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['quick', 'smoke'])
  c = fields.fit_config()
  c.data.name = 'fashion_mnist'
  c.model.name = 'cnn'
  c.model.widths = (16, 32)
  c.model.hidden = 64
  c.model.dropout = 0.25
  c.model.conv = 'im2col'  # 'native' on an accelerator
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 2e-3
  c.optimizer.weight_decay = 0.02
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 64
  c.epochs = 8
  if variant == 'quick':
    c.epochs = 2
  if variant == 'smoke':
    c.rows, c.batch_size, c.epochs = 8, 4, 1
  return c.lock()
