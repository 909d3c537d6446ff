r"""Methods for numbers against retraining, on a table of 442 patients.

  python experiments/benchmark.py --config=configs/bench_tabular.py --workdir=/tmp/t

60 MLPs that learned 300 patients forget 30 of them, at random three times and
the 30 that are hardest to forget; the table comes with scikit-learn. Metrics
that need classes are left out, and the summary says which. The gap is that of
mean absolute errors, in standard deviations of the target. 4.5 minutes on 2 busy
cores. Seed 0, random sets: the gap is .05 between oracles, .18 for models that
forgot nothing and .05 for the recipe of the originals as a method; .12 Gaussian
amnesiac, .13 fine-tuning, .14 blindspot. None of the others comes to the floor.
On the hardest set blindspot is at the floor by KLoM, though not by the gap (.12).
Variants: `:owners`, a classification of your own CSV where people own several
rows, and three of them leave with all they own (declare your columns as here);
`:smoke`, few of everything.

  python experiments/benchmark.py --config=configs/bench_tabular.py:owners \
    --workdir=/tmp/o --config.data.file=mine.csv
"""

from unlearn_jax import fields

# Those that a regression has a meaning for.
METHODS = (
  'blindspot',
  'gaussian_amnesiac',
  'finetune',
  'cf_k',
  'eu_k',
  'l1_sparse',
  'gradient_ascent',
  'neg_grad_plus',
  'ssd',
  'influence',
)


def get_config(variant=''):
  fields.check_variant(variant, ['owners', 'smoke'])
  c = fields.benchmark_config()
  c.data = {'name': 'diabetes', 'split': 'all'}
  c.rows, c.control_rows = 300, 40
  c.model = {'name': 'mlp', 'hidden': (64, 32), 'init': 'he'}
  c.optimizer = {'name': 'sgd', 'learning_rate': 0.05, 'momentum': 0.9}
  c.schedule = {'name': 'linear', 'warmup': 0.2}
  c.batch_size, c.epochs = 32, 40
  c.models, c.tuning_models = 60, 8
  c.forget_sets = {
    **{f'random {i}': {'kind': 'random', 'draw': i} for i in (1, 2, 3)},
    'worst': {'kind': 'worst'},
  }
  c.forget_size = 30
  c.methods = {
    'exact SISA': {'name': 'exact', 'shards': 3, 'slices': 2},
    **{name: {'name': name} for name in METHODS},
    'retrain': {
      'name': 'retrain',
      'learning_rate': 0.05,
      'weight_decay': 0.0,
      'epochs': 40,
      'batch_size': 32,
    },
  }
  if variant == 'owners':
    c.data = {
      'name': 'tabular',
      'file': 'mine.csv',
      'id': 'id',  # the column that names a row for good; never its number
      'owner': 'person',
      'label': 'answer',
      'classes': ('no', 'yes'),
      # Column -> its declared mean and standard deviation, or its words.
      'numeric': {'age': (40.0, 15.0), 'income': (3000.0, 1500.0)},
      'categorical': {'region': ('north', 'south')},
      'missing': 'indicator',  # an empty number becomes the mean, and a flag
    }
    c.forget_sets = {
      f'owner {i}': {'kind': 'owner', 'draw': i} for i in (1, 2, 3)
    }
    c.methods = {
      name: {'name': name} for name in ('finetune', 'neg_grad_plus', 'scrub')
    }
  if variant == 'smoke':
    c.rows, c.epochs = 100, 3
    c.models, c.few, c.tuning_models, c.trials = 6, 3, 4, 2
    c.forget_sets, c.forget_size = {'random 1': {'kind': 'random'}}, 10
    c.methods = {
      name: {'name': name}
      for name in ('blindspot', 'gaussian_amnesiac', 'finetune')
    }
  return c.lock()
