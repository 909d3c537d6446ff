r"""Every method against retraining, on the digits.

  python experiments/benchmark.py --config=configs/bench_digits.py --workdir=/tmp/b
  python experiments/report.py --workdir=/tmp/b

Variant: `:smoke`, few of everything.
"""

from unlearn_jax import experiment


def get_config(variant=''):
  experiment.check_variant(variant, ['smoke'])
  c = experiment.benchmark_config()
  c.model = {'name': 'mlp', 'hidden': (64, 32), 'init': 'he'}
  c.optimizer = {'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9}
  c.schedule = {'name': 'linear', 'warmup': 0.2}
  c.epochs = 30
  c.forget_sets = {
    **{f'random {i}': {'kind': 'random', 'draw': i} for i in (1, 2, 3)},
    **{
      f'class {i}': {'kind': 'class', 'draw': i, 'size': 0} for i in (1, 2, 3)
    },
  }
  c.methods = {
    'exact SISA': {'name': 'exact', 'shards': 3, 'slices': 2},
    **{
      name: {'name': name}
      for name in ('finetune', 'gradient_ascent', 'l1_sparse')
    },
  }
  if variant == 'smoke':
    c.rows, c.control_rows, c.validation_rows, c.epochs = 150, 40, 150, 3
    c.models, c.few, c.tuning_models, c.trials = 6, 3, 4, 2
    c.forget_sets = {'random 1': {'kind': 'random'}}
    c.forget_size = 10
  return c.lock()
