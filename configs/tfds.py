"""Any image classification set that TFDS prepared: a small network on it.

  python experiments/fit.py --config=configs/tfds.py --workdir=/tmp/tfds \
    --config.data.dataset=mnist --config.data.data_dir=FOLDER

FOLDER is TFDS's own (~/tensorflow_datasets when left out) and holds the set as
ArrayRecord; when it does not, the error says how to prepare it. Nothing about
the data is computed: mean and standard deviation are declared here.
Variant: `:smoke`, a few steps.
"""

from ml_collections import config_dict

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.fit_config()
  c.data.name = 'tfds'
  c.data.dataset = 'mnist'  # 'name', 'name/config', ':version' if several
  c.data.data_dir = config_dict.placeholder(str)
  c.data.image_key = 'image'
  c.data.label_key = 'label'
  c.data.owner_key = config_dict.placeholder(str)  # the feature, if any
  c.data.mean = 127.5
  c.data.std = 127.5
  c.data.in_memory = True  # False: decode at every read
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
  if variant == 'smoke':
    c.rows, c.batch_size, c.epochs = 8, 4, 1
  return c.lock()
