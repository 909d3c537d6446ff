"""A small MLP on the 8 x 8 digits that come with scikit-learn.

  python experiments/fit.py --config=configs/mlp_digits.py --workdir=/tmp/mlp

Expected: 98.1 % test accuracy (97.8 to 98.6 over seeds 0, 1, 2), in 5 seconds
on 2 CPU cores.
Variant: `:smoke`, a few steps.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.fit_config()
  c.data.name = 'digits'
  c.model.name = 'mlp'
  c.model.hidden = (128, 64)
  c.optimizer.learning_rate = 3e-3
  c.schedule.name = 'cosine'
  c.schedule.warmup = 0.05
  c.batch_size = 64
  c.epochs = 40
  c.eval_every = 10
  c.checkpoint_every = 10
  if variant == 'smoke':
    c.rows, c.epochs = 64, 1
  return c.lock()
