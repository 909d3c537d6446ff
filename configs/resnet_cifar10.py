"""ResNet-9 or ResNet-18 on CIFAR-10, for one accelerator. Not run here.

  python experiments/fit.py --config=configs/resnet_cifar10.py:18 \
    --workdir=/tmp/resnet --config.data.folder=FOLDER

FOLDER holds the binary batches; without it a set prepared by TFDS is read.
The smoke size runs on a CPU; the numbers of the full one are to be filled in
by whoever runs it. Variants: `:9` (default), `:18`, `:smoke`.
"""

from ml_collections import config_dict

from unlearn_jax import fields


def get_config(variant='9'):
  fields.check_variant(variant, ['9', '18', 'smoke'])
  c = fields.fit_config()
  c.data.name = 'cifar10'
  c.data.folder = config_dict.placeholder(str)
  c.data.verify = True  # False: other files of the same format
  c.model.name = 'resnet'
  c.model.depth = 18 if variant == '18' else 9
  c.model.width = 64
  c.model.norm = 'group'
  c.model.conv = 'native'  # 'im2col' for loops on a CPU
  c.augment.shift = 4
  c.augment.flip = True
  c.optimizer.name = 'sgd'
  c.optimizer.learning_rate = 0.1
  c.optimizer.momentum = 0.9
  c.optimizer.nesterov = True
  c.optimizer.weight_decay = 5e-4
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 256
  c.epochs = 60
  if variant == 'smoke':
    c.model.width = 4
    c.rows, c.batch_size, c.epochs = 8, 4, 1
  return c.lock()
