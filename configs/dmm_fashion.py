r"""Datamodel matching on Fashion-MNIST: 2,000 images learned by heart.

  python experiments/benchmark.py --config=configs/dmm_fashion.py --workdir=/tmp/f

80 MLPs learn 2,000 of the images and 1,000 others validate; 40 are to be
forgotten, drawn at random or as the top of a principal component of the
datamodel of 1,000 models of random halves: half as many models as examples, so
it is a weak one, and it shows.
Variant: `:smoke`, few of everything.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.matching_config()
  c.data = {'name': 'fashion_mnist', 'split': 'all'}
  c.rows = 2000
  c.validation_rows = 1000
  c.model = {'name': 'mlp', 'hidden': (32,), 'init': 'he'}
  c.optimizer = {'name': 'sgd', 'learning_rate': 0.05, 'momentum': 0.9}
  c.schedule = {'name': 'linear', 'warmup': 0.2}
  c.batch_size = 100
  c.epochs = 30
  c.seeds = (0,)
  c.models = 80
  c.subset_models = 1000
  c.calibration_sets = 2
  c.forget_size = 40
  c.klom.variant = 'v3'
  if variant == 'smoke':
    c.rows, c.validation_rows, c.epochs = 60, 40, 2
    c.models, c.subset_models, c.forget_size = 6, 40, 4
    c.calibration_sets = 1
    c.lds_masks, c.lds_seeds = 8, 1
    c.attributors = c.attributors[:3]
  return c.lock()
