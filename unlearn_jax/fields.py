"""Every field that a config may set, with its default, for each kind of run.

A config file fills in the rest and is locked: a misspelt field is an error that
names its neighbors.
"""

from collections.abc import Sequence

import ml_collections

from unlearn_jax import errors

ConfigDict = ml_collections.ConfigDict


def fit_config() -> ConfigDict:
  """Every field of a plain fit, with its default; a config fills in the rest."""
  c = ConfigDict()
  # What is trained on what: `name` is a file of unlearn_jax/data or /models,
  # the other fields are arguments of its `make`.
  c.data = ConfigDict({'name': 'digits'})  # split is added
  c.rows = 0  # train on the first rows only; 0: on all
  c.model = ConfigDict({'name': 'mlp'})  # num_outputs is added
  # How.
  c.optimizer = ConfigDict({'name': 'adam', 'learning_rate': 1e-3})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})  # part of a run
  c.augment = ConfigDict({'shift': 0, 'flip': False})  # of augment.py
  c.label_smoothing = 0.0
  c.batch_size = 64
  c.epochs = 10
  c.seed = 0
  # What happens on the way.
  c.eval_every = 1  # epochs between evaluations on the test split
  c.checkpoint_every = 1  # epochs between checkpoints; 0: none
  c.tensorboard = False  # needs the extra [tensorboard]
  return c


def system_config() -> ConfigDict:
  """Every field of a system that deletes, as `exact/recipe.py` has them."""
  c = ConfigDict()
  # What is trained on what: `name` is a file of unlearn_jax/data or /models,
  # the other fields are arguments of its `make`.
  c.data = ConfigDict({'name': 'digits'})  # split is added
  c.model = ConfigDict({'name': 'mlp'})  # num_outputs is added
  # Which parts of the data a stage sees, and which parameters it moves.
  c.strategy = 'sisa'  # all of them; 's3t': one block of the model a slice
  c.shards = 4  # disjoint parts with models of their own
  c.slices = 4  # of a shard, learned one by one; s3t: blocks of the model
  c.sequences = ConfigDict({'kind': 'cyclic', 'budget': 1})  # orders of slices
  c.placement = ConfigDict()  # arguments of exact/partition.py, such as salt
  # How.
  c.optimizer = ConfigDict({'name': 'adam', 'learning_rate': 1e-3})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})  # part of a run
  c.augment = ConfigDict({'shift': 0, 'flip': False})  # of augment.py
  c.label_smoothing = 0.0
  c.batch_size = 64
  c.epochs = 1  # passes of a stage over all the slices it has seen
  c.mesh = ConfigDict()  # {'data': d, 'model': k}: a stage on d x k devices
  c.carry = False  # the optimizer's state to the next stage; for sisa
  c.seed = 0
  # How the shards answer together.
  c.aggregate = 'mean_logit'  # or 'mean_prob', 'vote'
  c.fallback = 'error'  # when all shards are dead; 'prior' answers zeros
  c.retention = 0.0  # seconds that stages of deleted examples stay on disk
  return c


def _study(name: str, rows: int) -> ConfigDict:
  """What the studies of fleets have in common."""
  c = ConfigDict()
  c.study = name
  # Each of the models learns `rows` of these, drawn by the seed; the others,
  # or `validation_rows` of them, validate.
  c.data = ConfigDict({'name': 'digits', 'split': 'all'})
  c.rows = rows
  c.validation_rows = 0  # 0: all that are left
  c.model = ConfigDict({'name': 'mlp'})
  c.optimizer = ConfigDict({'name': 'adam', 'learning_rate': 1e-3})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})
  c.augment = ConfigDict({'shift': 0, 'flip': False})
  c.batch_size = 100
  c.epochs = 10
  c.width = 4  # models that share an operation; hundreds on an accelerator
  return c


def matching_config() -> ConfigDict:
  """Every field of the study of datamodel matching (`study/matching.py`)."""
  c = _study('matching', 400)
  c.seeds = (0, 1, 2)
  c.models = 100  # unlearned, and as many oracles; KLoM depends on it
  c.subset_models = 1024  # for the datamodel
  c.alphas = (0.5,)  # of the rows in each subset; several take turns
  # Two datamodels for each row's margin, of models with it and without it: far
  # nearer to oracles. Keeps margins [subset_models, rows] on the host, and a few
  # arrays of that size while it fits.
  c.own_effects = False
  c.datamodel = ConfigDict({'estimator': 'ridge', 'penalty': 'gcv'})
  c.klom = ConfigDict({'variant': 'default'})
  c.forget_sets = ('random', 'principal')
  c.forget_size = 20
  c.calibration_sets = 3  # a kind, each with oracles of its own
  # Of `datamodels.py`, which scores attributions on models of other subsets.
  c.alpha = 0.5  # of the rows in each of its subsets
  c.lds_masks, c.lds_seeds = 256, 4
  c.lds_at = (256, 512, 1024, 2048)  # and all `subset_models`
  c.estimators = ('difference', 'ridge')
  krylov = {'solver': 'krylov', 'steps': 60, 'damping': 1.0}
  c.attributors = [
    {'name': 'random', 'checkpoints': 1},
    {'name': 'grad_dot', 'checkpoints': 10},
    {'name': 'trak', 'checkpoints': 1},
    {'name': 'trak', 'checkpoints': 5},
    {'name': 'trak', 'checkpoints': 20},
    {'name': 'influence', 'checkpoints': 10, **krylov},
  ]
  # Rows of the table: `name` is a file of unlearn_jax/unlearners, the rest are
  # arguments of its `make`.
  adam = {'name': 'adam', 'epochs': 60}
  newton = {'name': 'gauss_newton', 'rounds': 3, 'iterations': 40}
  exact = {'name': 'gauss_newton', 'rounds': 8, 'iterations': 40}
  c.methods = {
    'dm_direct, factor 1': {'name': 'dm_direct', 'calibrated': False},
    'dm_direct': {'name': 'dm_direct'},
    'dmm, Adam': {'name': 'dmm', 'solver': adam},
    'dmm, Gauss-Newton': {'name': 'dmm', 'solver': {**exact, 'damping': 0.01}},
    # Predicted by influence functions of a few of the models, from no subset.
    'dmm, influence': {
      'name': 'dmm',
      'solver': {**newton, 'damping': 0.1},
      'attributor': {'name': 'influence', 'checkpoints': 10},
    },
    'oracle matching, Adam': {'name': 'oracle_matching', 'solver': adam},
    'oracle matching, Gauss-Newton': {
      'name': 'oracle_matching',
      'solver': {**exact, 'damping': 0.003},
    },
  }
  return c


def benchmark_config() -> ConfigDict:
  """Every field of the benchmark of methods (`study/benchmark.py`)."""
  c = _study('benchmark', 1200)
  # By the first of the others methods may choose; nobody sees the rest before
  # the test.
  c.control_rows = 200
  c.optimizer = ConfigDict({'name': 'sgd', 'learning_rate': 0.1})
  c.batch_size = 64
  c.seed = 0
  # Of originals, each unlearned, and of oracles: KLoM depends on it. Dear
  # metrics look at the first `few`.
  c.models = 100
  c.few = 5
  c.fresh_oracles = True  # as many again, for the floors of ensembles
  # {} for dense models, or a file of unlearn_jax/pruners and its arguments;
  # then the oracles are pruned too. `sparse_methods`: () for all. Beside it or
  # alone {'corruption': {'kind': 'poison', 'swap' or 'shuffle_labels', 'count':
  # rows that somebody tampers with, 'known': those that were found, ...}}, as
  # study/corruption.py has it; forget sets of the kind 'manipulated' are those
  # that are known, and oracles then learn none of the rows.
  c.arenas = {'dense': {}}
  c.sparse_methods = ()
  c.forget_sets = {
    f'{kind} {draw}': {'kind': kind, 'draw': draw}
    for kind in ('random', 'class')
    for draw in (1, 2, 3)
  }
  c.forget_size = 120
  # Of each method, on models and on a forget set that are in no table.
  c.trials = 8
  c.tuning_models = 32
  c.metrics = ()  # of study/panel.py; (): all
  # Rows of the table: `name` is a file of unlearn_jax/unlearners; what is said
  # beside it is fixed, and not tuned.
  c.methods = {name: {'name': name} for name in ('finetune', 'gradient_ascent')}
  return c


def leaks_config() -> ConfigDict:
  """Every field of the study of planted leaks (`study/leaks.py`)."""
  c = _study('leaks', 1200)  # as in the benchmark
  c.control_rows = 200
  c.optimizer = ConfigDict({'name': 'sgd', 'learning_rate': 0.1})
  c.batch_size = 64
  c.seed = 0
  # Of each group, all for the metrics of ensembles, the first few for others.
  c.models = 32
  c.few = 5
  c.null_trials = 40  # each with a group of oracles, for the thresholds
  c.trials = 20  # of each leak
  c.leaks = (0.0, 0.01, 0.02, 0.05, 0.1, 1.0)  # parts of the forget set
  c.edits = ('head bias', 'head column')  # of originals, where it is a class
  c.forget_sets = {
    'random': {'kind': 'random'},
    'class': {'kind': 'class', 'size': 0},
  }
  c.forget_size = 120
  c.metrics = ()  # of study/panel.py; (): all
  return c


def plan_config() -> ConfigDict:
  """Every field of the planner and of serving under load (`study/live.py`)."""
  c = ConfigDict()
  c.study = 'plan'
  # Layouts as `measure.py` found them: nothing is said about any other.
  c.profiles = []
  c.examples = 10_000
  c.rates = (100.0,)  # requests a day; a proposal for each
  # Who asks: shares of the units that may ask and of the requests, and the rows
  # that leave with one.
  c.groups = [{'units': 1.0, 'requests': 1.0, 'rows': 1}]
  # The least that is promised; each a mean over time, from 0 to 1.
  c.accuracy = 0.0  # while something serves
  c.depth = 0.0  # live slices of all slices
  c.availability = 0.0  # time in which some shard serves
  # What may be chosen: orders a shard, and hours between repairs.
  c.budgets = (1, 2, 4)
  c.windows = (1.0, 24.0)
  c.requests = 100  # of a stream
  c.streams = 20
  c.seed = 0
  # What is compared, by name: {'profile', 'budget', 'policy', 'hours'}.
  c.lines = {}
  c.live = ConfigDict(
    {'rates': (100.0,), 'requests': 1000, 'streams': 20, 'bins': 40}
  )
  # The run of a real, tiny system; no seeds: none.
  c.real = ConfigDict(
    {'recipe': {}, 'requests': 50, 'batches': (1, 5), 'seeds': ()}
  )
  return c


def check_variant(variant: str, allowed: Sequence[str]) -> None:
  """Refuses a `config.py:variant` that the config does not have."""
  if variant:
    errors.check_choice('variant of the config', variant, allowed)
