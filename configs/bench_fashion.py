r"""Methods against retraining, on 9,000 images of Fashion-MNIST and a small CNN.

  python experiments/benchmark.py --config=configs/bench_fashion.py --workdir=/tmp/b
  python experiments/report.py --workdir=/tmp/b

3 models that learn 6,000 of them, and 3 oracles for each of 2 forget sets, 600
at random and a whole class; 1,000 images to choose by and 2,000 to test on. At
most 2 passes over what stays for a method, 3 trials of its settings. Ensemble
metrics need more models than that, and relearning takes longer than all else:
they are in `bench_digits`.
Expected, seed 0: by the gap, neg_merge 1.2, influence 1.4, salun and msg 1.7 points on
the random set, where doing nothing has 3.3; random_label .4, salun .5, exact SISA .6
on the class, where it has 48. 48 minutes on 2 busy cores, 39 of CPU.
Variant: `:smoke`, few of everything.
"""

from unlearn_jax import fields

SHORT = {'epochs': 2}
METHODS = {
  'exact SISA': {
    'name': 'exact',
    'shards': 2,
    'slices': 2,
    'batch_size': 64,
  },
  'finetune': SHORT,
  'gradient_ascent': SHORT,
  'neg_grad_plus': SHORT,
  'random_label': SHORT,
  'salun': SHORT,
  'l1_sparse': SHORT,
  'scrub': SHORT,
  'scrub_rewind': SHORT,
  'bad_teacher': SHORT,
  'cf_k': SHORT,
  'eu_k': SHORT,
  'msg': SHORT,
  'convolution_transpose': SHORT,
  'boundary_shrink': SHORT,
  'boundary_expand': SHORT,
  'influence': {'iterations': 10},
  'ssd': {},
  'ssd_label_free': {},
  'potion': {},
  'neg_merge': {'epochs': 2, 'candidates': 5},
}


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.benchmark_config()
  c.data = {'name': 'fashion_mnist', 'split': 'train'}
  c.rows, c.control_rows, c.validation_rows = 6000, 1000, 3000
  c.model = {'name': 'cnn', 'widths': (8, 16), 'hidden': 64}
  c.optimizer = {'name': 'adam', 'learning_rate': 2e-3}
  c.schedule = {'name': 'cosine', 'warmup': 0.05}
  c.batch_size = 64
  c.epochs = 8
  c.width = 1  # convolutions gain nothing from company on a CPU
  c.models = c.few = 3
  c.fresh_oracles = False
  c.trials, c.tuning_models = 3, 2
  c.forget_sets = {
    'random 1': {'kind': 'random', 'draw': 1},
    'class 1': {'kind': 'class', 'draw': 1, 'size': 0},
  }
  c.forget_size = 600
  c.metrics = (
    'accuracy',
    'mia',
    'attacks',
    'gap',
    'tow',
    'divergences',
    'zrf',
    'features',
    'distance',
    'cost',
  )
  c.methods = {name: {'name': name, **of} for name, of in METHODS.items()}
  if variant == 'smoke':
    c.rows, c.control_rows, c.validation_rows, c.epochs = 160, 30, 150, 1
    c.models = c.few = 3
    c.trials, c.forget_size = 1, 12
    c.forget_sets = {'random 1': {'kind': 'random'}}
    c.methods = {name: {'name': name} for name in ('finetune', 'ssd')}
  return c.lock()
