r"""Which metrics notice planted leaks, on the digits.

  python experiments/leaks.py --config=configs/leaks_digits.py --workdir=/tmp/l

Variant: `:smoke`, few of everything.
"""

from unlearn_jax import experiment


def get_config(variant=''):
  experiment.check_variant(variant, ['smoke'])
  c = experiment.leaks_config()
  c.model = {'name': 'mlp', 'hidden': (64, 32), 'init': 'he'}
  c.optimizer = {'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9}
  c.schedule = {'name': 'linear', 'warmup': 0.2}
  c.epochs = 30
  if variant == 'smoke':
    c.rows, c.control_rows, c.validation_rows, c.epochs = 150, 40, 150, 3
    c.models, c.few, c.null_trials, c.trials = 6, 3, 19, 2
    c.forget_sets = {'class': {'kind': 'class', 'size': 0}}
    c.forget_size, c.leaks, c.edits = 10, (1.0,), ('head bias',)
    c.metrics = ('accuracy', 'klom', 'game', 'features')
  return c.lock()
