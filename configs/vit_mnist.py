"""The public backbone: a small vision transformer pretrained on MNIST.

  python experiments/pretrain.py --workdir=/tmp/vit_mnist \
    --config.data.folder=FOLDER --output=vit_micro_mnist.safetensors

FOLDER holds the four original gzip files. This is how the backbone inside the
package (`weights='mnist'`) was made; its metadata holds command, seed and
digest. Expected: 98.8 % on MNIST's
test set (seed 0), in 5 minutes on 2 CPU cores. Variant: `:smoke`, a few steps.
"""

from ml_collections import config_dict

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.fit_config()
  c.data.name = 'mnist'
  c.data.folder = config_dict.placeholder(str)
  c.data.verify = True  # False: other files of the same format
  c.model.name = 'vit'
  c.model.variant = 'micro'
  c.model.patch = 7
  c.augment.shift = 3
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 1e-3
  c.optimizer.weight_decay = 0.05
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 128
  c.epochs = 15
  if variant == 'smoke':
    c.rows, c.batch_size, c.epochs = 8, 4, 1
  return c.lock()
