r"""Datamodel matching on CIFAR-10 with ResNet-9, for accelerators. Not run here.

  python experiments/benchmark.py --config=configs/dmm_cifar10_resnet9.py \
    --workdir=/tmp/c --config.data.folder=FOLDER

The recipe of published tables: the light ResNet-9 with batch normalization, 24
epochs without augmentation, so that all is learned by heart, and their forget
sets: random ones, the first two principal components of the datamodel, and the
neighbors of an example (in the features of a base model here, not of CLIP). 100
models are judged by 100 oracles of each set; 100 more teach, and are the floor.

FOLDER holds the binary batches. All 60,000 images are drawn from: 50,000 are
learned, 10,000 validate. That asks for 26,100 models and, on the host, for 240 GB
for the sums over logits and half as much for their weights; fewer
`--config.rows` need less, in proportion to their square. How many models share an
operation, `--config.width`, is a guess.
Variant: `:smoke`, few of everything.
"""

from ml_collections import config_dict

from unlearn_jax import fields

_SETS = {
  '1': {'kind': 'random', 'draw': 1, 'size': 10},
  '2': {'kind': 'random', 'draw': 2, 'size': 100},
  '3': {'kind': 'random', 'draw': 3, 'size': 1000},
  '4': {'kind': 'principal', 'draw': 1, 'size': 10},
  '5': {'kind': 'principal', 'draw': 1, 'size': 100},
  '6': {'kind': 'principal', 'draw': 1, 'size': 500, 'both': True},
  '7': {'kind': 'principal', 'draw': 2, 'size': 10},
  '8': {'kind': 'principal', 'draw': 2, 'size': 100},
  '9': {'kind': 'principal', 'draw': 2, 'size': 500, 'both': True},
  '10': {'kind': 'nearest', 'draw': 1, 'size': 100},
}


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.matching_config()
  c.data = {'name': 'cifar10', 'split': 'all', 'verify': True}
  c.data.folder = config_dict.placeholder(str)
  c.rows = 50_000
  c.model = {
    'name': 'resnet',
    'form': 'light',
    'norm': 'batch',
    'conv': 'native',
    'width': 64,
  }
  c.optimizer = {
    'name': 'sgd',
    'learning_rate': 0.4,
    'momentum': 0.9,
    'weight_decay': 5e-4,
  }
  c.schedule = {'name': 'linear', 'warmup': 5 / 24}
  c.batch_size = 256
  c.epochs = 24
  c.width = 16
  c.seeds = (0,)
  c.models = 100
  c.subset_models = 20_000
  with c.ignore_type():  # more than names
    c.forget_sets = _SETS
  c.klom.variant = 'v3'
  if variant == 'smoke':
    c.model.width = 4
    c.rows, c.validation_rows, c.epochs, c.batch_size = 12, 4, 1, 8
    c.models, c.subset_models, c.calibration_sets = 3, 24, 1
    c.width = 1
    c.methods = {'dm_direct': {'name': 'dm_direct'}}
    c.forget_sets = {name: {**_SETS[name], 'size': 3} for name in ('9', '10')}
  return c.lock()
