"""A vision transformer on CIFAR-10, one LoRA block a slice, for one GPU (S3T).

  python experiments/train.py --config=configs/s3t_cifar10.py --workdir=/tmp/s \
    --config.data.folder=FOLDER --config.model.base.weights=WEIGHTS

Not run here: the numbers are to be filled in by whoever runs it. FOLDER holds
the binary batches; without it a set prepared by TFDS is read. WEIGHTS is an
AugReg `.npz` or a Hugging Face `.safetensors` of a ViT-Tiny with the same
patch, pretrained on public data: without it adapters sit on random features.
Variant: `:smoke`, a tiny transformer, for a CPU.
"""

from ml_collections import config_dict

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.system_config()
  c.data.name = 'cifar10'
  c.data.folder = config_dict.placeholder(str)
  c.data.verify = True  # False: other files of the same format
  c.model.name = 'lora'
  c.model.base = {'name': 'vit', 'variant': 'tiny', 'patch': 4}
  c.model.base.weights = config_dict.placeholder(str)
  c.model.blocks = 4  # as many as slices; 3 layers each
  c.model.rank = 16
  c.strategy = 's3t'
  c.shards = 5
  c.slices = 4
  c.sequences.kind = 'cyclic'
  c.sequences.budget = 4
  c.augment.shift = 4
  c.augment.flip = True
  c.optimizer.name = 'adamw'
  c.optimizer.learning_rate = 2e-3
  c.optimizer.weight_decay = 0.05
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 128
  c.epochs = 10
  if variant == 'smoke':
    tiny = {'patch': 16, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 16}
    c.model.base = {'name': 'vit', **tiny}
    c.model.blocks = c.slices = 2
    c.model.rank, c.sequences.budget = 2, 2
    c.shards, c.batch_size, c.epochs = 2, 4, 1
  return c.lock()
