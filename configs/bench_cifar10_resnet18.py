r"""The published protocol on CIFAR-10: a ResNet-18, dense and 95 % sparse.

  python experiments/benchmark.py --config=configs/bench_cifar10_resnet18.py \
    --config.data.folder=FOLDER --workdir=/tmp/b

After Jia et al. (2023): 45,000 images, 182 epochs, a tenth forgotten at random
or a whole class, 10 epochs of unlearning; the sparse models are pruned by
magnitude after training, rewound to epoch 8, and so are their oracles. For one
GPU; not run here.
Variant: `:smoke`, few of everything.
"""

from ml_collections import config_dict

from unlearn_jax import fields

METHODS = (
  'finetune',
  'gradient_ascent',
  'neg_grad_plus',
  'random_label',
  'salun',
  'l1_sparse',
  'scrub',
  'bad_teacher',
  'ssd',
  'fisher_forgetting',
  'influence',
  'cf_k',
  'eu_k',
  'msg',
  'convolution_transpose',
)
SPARSE = ('finetune', 'gradient_ascent', 'fisher_forgetting', 'influence')


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.benchmark_config()
  c.data = {'name': 'cifar10', 'split': 'train', 'verify': True}
  c.data.folder = config_dict.placeholder(str)
  c.rows, c.control_rows, c.validation_rows = 40000, 2000, 10000
  c.model = {'name': 'resnet', 'depth': 18, 'norm': 'batch', 'conv': 'native'}
  c.optimizer = {
    'name': 'sgd',
    'learning_rate': 0.1,
    'momentum': 0.9,
    'weight_decay': 5e-4,
  }
  c.schedule = {'name': 'cosine', 'warmup': 0.05}
  c.augment = {'shift': 4, 'flip': True}
  c.batch_size = 256
  c.epochs = 182
  c.width = 2
  c.models = c.few = 5
  c.fresh_oracles = False
  c.trials, c.tuning_models = 5, 2
  c.arenas = {
    'dense': {},
    'sparse': {'name': 'omp', 'sparsity': 0.95, 'rewind': 8},
  }
  c.sparse_methods = SPARSE
  c.forget_sets = {
    **{f'random {i}': {'kind': 'random', 'draw': i} for i in (1, 2, 3)},
    **{
      f'class {i}': {'kind': 'class', 'draw': i, 'size': 0} for i in (1, 2, 3)
    },
  }
  c.forget_size = 4000
  c.metrics = (
    'accuracy',
    'mia',
    'gap',
    'tow',
    'divergences',
    'features',
    'distance',
    'cost',
  )
  c.methods = {name: {'name': name} for name in METHODS}
  if variant == 'smoke':
    c.model = {'name': 'resnet', 'depth': 9, 'width': 2, 'norm': 'batch'}
    c.rows, c.control_rows, c.validation_rows, c.epochs = 14, 4, 12, 1
    c.batch_size = 8
    c.models = c.few = 3
    c.trials, c.forget_size = 1, 3
    c.arenas = {'dense': {}}
    c.sparse_methods = ()
    c.forget_sets = {'random 1': {'kind': 'random'}}
    c.methods = {'finetune': {'name': 'finetune'}}
  return c.lock()
