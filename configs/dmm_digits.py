r"""Datamodel matching on 400 digits: how near unlearned models come to oracles.

  python experiments/benchmark.py --config=configs/dmm_digits.py --workdir=/tmp/b
  python experiments/datamodels.py --config=configs/dmm_digits.py --workdir=/tmp/a \
    --config.subset_models=4096

100 MLPs learn 400 of the digits by heart; 20 of these are to be forgotten, drawn
at random or as the top of a principal component of the datamodel, which is
estimated from 3,496 models of random halves and three quarters. 600 more fit the
factors. KLoM is the variant `v3` of published tables. 3 seeds; the
table, and what it costs, stand in the README.
Variant: `:smoke`, few of everything.
"""

from unlearn_jax import fields


def get_config(variant=''):
  fields.check_variant(variant, ['smoke'])
  c = fields.matching_config()
  c.data = {'name': 'digits', 'split': 'all'}
  c.rows = 400
  c.model = {'name': 'mlp', 'hidden': (32,), 'init': 'he'}
  c.optimizer = {'name': 'sgd', 'learning_rate': 0.2, 'momentum': 0.9}
  c.schedule = {'name': 'linear', 'warmup': 0.2}
  c.batch_size = 100
  c.epochs = 80
  c.models = 100
  c.subset_models = 3496  # and 600 for the factors: 4096 in all
  c.alphas = (0.5, 0.75)
  c.own_effects = True
  c.klom.variant = 'v3'
  if variant == 'smoke':
    c.seeds = (0,)
    c.rows, c.validation_rows, c.epochs = 60, 40, 2
    c.models, c.subset_models, c.forget_size = 6, 40, 4
    c.calibration_sets = 1
    c.lds_masks, c.lds_seeds = 8, 1
    c.attributors = c.attributors[:3]
  return c.lock()
