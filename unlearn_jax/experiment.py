"""The composition root: configs in, objects built, runs done.

This is the only module of the package that sees a ConfigDict. Binaries call
its functions; everything below takes plain arguments.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import pathlib
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import optax
from absl import logging

from unlearn_jax import (
  augment,
  checkpoints,
  devices,
  errors,
  files,
  operations,
  optimizers,
  registry,
  step,
  tour,
  training,
  trees,
  types,
)
from unlearn_jax.models import _vit_weights
from unlearn_jax.study import (
  attribution,
  figures,
  heatmap,
  leaderboard,
  matching,
)
from unlearn_jax.study import benchmark as benchmark_lib
from unlearn_jax.study import leaks as leaks_lib
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.study import writer as writer_lib

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
  return c


def matching_config() -> ConfigDict:
  """Every field of the study of datamodel matching (`study/matching.py`)."""
  c = ConfigDict()
  c.study = 'matching'
  # Each of the models learns `rows` of these, drawn by the seed; the others,
  # or `validation_rows` of them, validate.
  c.data = ConfigDict({'name': 'digits', 'split': 'all'})
  c.rows = 400
  c.validation_rows = 0  # 0: all that are left
  c.model = ConfigDict({'name': 'mlp'})
  c.optimizer = ConfigDict({'name': 'adam', 'learning_rate': 1e-3})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})
  c.augment = ConfigDict({'shift': 0, 'flip': False})
  c.batch_size = 100
  c.epochs = 10
  c.width = 4  # models that share an operation; hundreds on an accelerator
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
  c = ConfigDict()
  c.study = 'benchmark'
  # The models learn `rows` of these, drawn by the seed. Of the others, or of
  # `validation_rows` of them, methods may choose by the first `control_rows`;
  # nobody sees the rest before the test.
  c.data = ConfigDict({'name': 'digits', 'split': 'all'})
  c.rows = 1200
  c.control_rows = 200
  c.validation_rows = 0  # 0: all that are left
  c.model = ConfigDict({'name': 'mlp'})
  c.optimizer = ConfigDict({'name': 'sgd', 'learning_rate': 0.1})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})
  c.augment = ConfigDict({'shift': 0, 'flip': False})
  c.batch_size = 64
  c.epochs = 10
  c.width = 4  # models that share an operation; hundreds on an accelerator
  c.seed = 0
  # Of originals, each unlearned, and of oracles: KLoM depends on it. Dear
  # metrics look at the first `few`.
  c.models = 100
  c.few = 5
  c.fresh_oracles = True  # as many again, for the floors of ensembles
  # {} for dense models, or a file of unlearn_jax/pruners and its arguments;
  # then the oracles are pruned too. `sparse_methods`: () for all.
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
  c = ConfigDict()
  c.study = 'leaks'
  # As in the benchmark.
  c.data = ConfigDict({'name': 'digits', 'split': 'all'})
  c.rows = 1200
  c.control_rows = 200
  c.validation_rows = 0  # 0: all that are left
  c.model = ConfigDict({'name': 'mlp'})
  c.optimizer = ConfigDict({'name': 'sgd', 'learning_rate': 0.1})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})
  c.augment = ConfigDict({'shift': 0, 'flip': False})
  c.batch_size = 64
  c.epochs = 10
  c.width = 4  # models that share an operation; hundreds on an accelerator
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


def check_variant(variant: str, allowed: Sequence[str]) -> None:
  """Refuses a `config.py:variant` that the config does not have."""
  if variant and variant not in allowed:
    raise errors.unknown_name('variant of the config', variant, allowed)


def train(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Creates and trains a system, or goes on with the one that is there."""
  return operations.train(config.to_dict(), workdir)


def quickstart(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Trains a system, deletes from it, repairs it and proves it."""
  return tour.run(config.to_dict(), workdir)


def benchmark(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """The study that the config is of: of matching, or of every method."""
  _check_study(config, 'matching', 'benchmark')
  if config.study == 'matching':
    return _matching(config, workdir)
  with _study_in(workdir, 'benchmark', config) as writer:
    summary = benchmark_lib.run(config.to_dict(), workdir)
    writer.summary(summary)
  return summary


def _matching(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """How near unlearned models come to oracles; draws the pictures too."""
  with _study_in(workdir, 'benchmark', config) as writer:
    summary = matching.run(config.to_dict(), workdir)
    found = matching.pictured(workdir, config.seeds[0])
    pictures = {
      'picture': writer.workdir / 'benchmark.png',
      'klom_picture': writer.workdir / 'klom.png',
    }
    figures.margins(found['points'], pictures['picture'])
    figures.klom(found['curves'], pictures['klom_picture'])
    summary |= {name: str(path) for name, path in pictures.items()}
    writer.summary(summary)
  return summary


def attribute(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Estimates datamodels and scores attributions by LDS."""
  _check_study(config, 'matching')
  with _study_in(workdir, 'datamodels', config) as writer:
    summary = attribution.run(config.to_dict(), workdir)
    writer.summary(summary)
  return summary


def leaks(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Which metrics notice planted leaks; draws the picture too."""
  with _study_in(workdir, 'leaks', config) as writer:
    summary = leaks_lib.run(config.to_dict(), workdir)
    shares: dict[str, Any] = {}
    for row in summary['rows']:
      of_set = shares.setdefault(row['forget set'], {})
      of_set.setdefault(row['metric'], {})[row['leak']] = row['power']
    picture = writer.workdir / 'leaks.png'
    heatmap.draw(shares, picture, label='share of the trials noticed, in %')
    summary['picture'] = str(picture)
    writer.summary(summary)
  return summary


def _check_study(config: ConfigDict, *wanted: str) -> None:
  """Refuses the config of another binary, before a directory is made."""
  if config.get('study') not in wanted:
    raise errors.ConfigError(
      f'the config is of a study of {" or ".join(wanted)}, got one of '
      f'{config.get("study", "no study")}'
    )


def _study_in(
  workdir: str, binary: str, config: ConfigDict
) -> writer_lib.Writer:
  """The directory of a study, which may go on with other settings.

  What a study keeps there says itself what it was made of.
  """
  return writer_lib.Writer(
    workdir, binary=binary, config=config.to_dict(), overwrite=True
  )


def shown(summary: Mapping[str, Any]) -> list[dict[str, str]]:
  """The rows of a benchmark as a person reads them."""
  if summary['study'] == 'benchmark':
    return leaderboard.shown(summary['leaderboard'])

  def cell(found):
    mean, low, high = (f'{found[k]:.2f}' for k in ('mean', 'low', 'high'))
    return mean if low == high else f'{mean} ({low} to {high})'

  columns = (*matching.SPLITS, matching.GAME)
  return [
    {
      'forget set': row['forget set'],
      'method': row['method'],
      **{name: cell(row[name]) for name in columns},
    }
    for row in summary['rows']
  ]


def fit(
  config: ConfigDict,
  workdir: str,
  *,
  binary: str = 'fit',
  argv: Sequence[str] = (),
  overwrite: bool = False,
  finish: Callable[[dict[str, Any], types.Params], None] | None = None,
) -> tuple[dict[str, Any], types.Params]:
  """Trains one model and evaluates it; goes on where a run was interrupted.

  Args:
    config: as `fit_config` has it.
    workdir: directory of the run.
    binary: the name of the program, and of its summary.
    argv: its command line.
    overwrite: start over.
    finish: is given the summary, to add to, and the parameters, before the run
      counts as done.

  Returns:
    The summary, also written to `<workdir>/<binary>.json`, and the parameters.
  """
  # All of it before anything is written: a wrong name or value costs nothing.
  parts = _build(config)
  with writer_lib.Writer(
    workdir,
    binary=binary,
    config=config.to_dict(),
    argv=argv,
    overwrite=overwrite,
    tensorboard=config.tensorboard,
  ) as writer:
    folder = writer.workdir / 'checkpoints'
    if not writer.resumed and folder.exists():
      shutil.rmtree(folder)
    checkpoints.sweep(folder)
    summary, params = _run(config, parts, writer, folder)
    if finish:
      finish(summary, params)
    writer.summary(summary)
  return summary, params


def pretrain(
  config: ConfigDict,
  workdir: str,
  output: str,
  *,
  argv: Sequence[str] = (),
  overwrite: bool = False,
) -> dict[str, Any]:
  """Fits a vision transformer and writes all but its head as safetensors."""
  if config.model.name != 'vit':
    raise errors.ConfigError(
      f'only a vit can be exported as a backbone, got {config.model.name!r}'
    )
  if not output.endswith('.safetensors'):
    raise errors.ConfigError(f'output is a .safetensors file, got {output!r}')
  if not pathlib.Path(output).absolute().parent.is_dir():
    raise errors.ConfigError(f'there is no folder to write {output} into')

  def export(summary, params):
    backbone = trees.partition(params, lambda p: not p.startswith('head/'))[0]
    facts = {
      'digest': trees.digest(backbone),
      'seed': str(config.seed),
      'command': _public_command(argv),
      'accuracy': f'{summary["test"]["accuracy"]:.4f}',
    }
    _vit_weights.save(output, params, facts)
    summary |= {'output': output, 'backbone_digest': facts['digest']}

  summary, _ = fit(
    config,
    workdir,
    binary='pretrain',
    argv=argv,
    overwrite=overwrite,
    finish=export,
  )
  return summary


def _public_command(argv: Sequence[str]) -> str:
  """The command line as others may read it, without places on this machine.

  Where it wrote is left out. A path from the root or the home folder becomes
  the last word of its flag in capitals; of a config its file name is kept.
  """
  words = []
  for word in argv[1:]:
    if words and '=' not in words[-1] and not word.startswith('-'):
      words[-1] += f'={word}'  # --flag value
    else:
      words.append(word)
  kept = [f'experiments/{pathlib.Path(argv[0]).name}'] if argv else []
  for word in words:
    flag, _, value = word.partition('=')
    if flag.lstrip('-') in ('workdir', 'output', 'overwrite', 'nooverwrite'):
      continue
    if value.startswith(('/', '~')) or '..' in value:
      name = flag.lstrip('-').split('.')[-1].upper()
      value = pathlib.Path(value).name if name == 'CONFIG' else name
    kept.append(f'{flag}={value}' if value else flag)
  return shlex.join(kept)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Parts:
  """The objects a config stands for."""

  train: types.Dataset
  test: types.Dataset
  model: types.Model
  optimizer: optax.GradientTransformation
  schedule: optimizers.Schedule
  augment: augment.Augment | None


def _build(config: ConfigDict) -> _Parts:
  _check_numbers(config)
  train = _make('data', config.data, split='train')
  if not 0 <= config.rows <= len(train):
    raise errors.ConfigError(
      f'rows is between 0 and {len(train)}, got {config.rows}'
    )
  if config.label_smoothing and train.task.kind == 'regression':
    raise errors.ConfigError('label_smoothing is for classification only')
  num_outputs = train.task.num_outputs
  with _naming('model'):
    model = _make('models', config.model, num_outputs=num_outputs)
  parts = _Parts(
    train=train.subset(np.arange(config.rows)) if config.rows else train,
    test=_make('data', config.data, split='test'),
    model=model,
    optimizer=optimizers.make(**config.optimizer.to_dict()),
    schedule=optimizers.make_schedule(**config.schedule.to_dict()),
    augment=augment.make(config.augment.to_dict()),
  )
  for name, data in (('train', parts.train), ('test', parts.test)):
    if not len(data):
      raise errors.DataError(f'{data.name} has no rows in its {name} split')
  with _naming('model'):  # Sizes that do not fit show here, at no cost.
    jax.eval_shape(lambda: _initial_state(config, parts))
  return parts


def _check_numbers(config: ConfigDict) -> None:
  for name in ('batch_size', 'epochs', 'eval_every'):
    if config[name] < 1:
      raise errors.ConfigError(f'{name} is at least 1, got {config[name]}')
  if config.checkpoint_every < 0:
    raise errors.ConfigError(
      'checkpoint_every is at least 1, or 0 for no checkpoints, got '
      f'{config.checkpoint_every}'
    )
  errors.check_fraction('label_smoothing', config.label_smoothing)


def _initial_state(config: ConfigDict, parts: _Parts) -> step.TrainState:
  return training.initial_state(
    parts.model, parts.train, parts.optimizer, config.seed
  )


@contextlib.contextmanager
def _naming(field: str) -> Iterator[None]:
  """What a library says about a wrong size, as an error of that setting."""
  try:
    yield
  except errors.UnlearnError:
    raise
  except (TypeError, ValueError, ArithmeticError, LookupError) as error:
    raise errors.ConfigError(
      f'the {field} cannot be built: {type(error).__name__}: {error}'
    ) from error


def _make(kind: str, config: ConfigDict, **extra: Any) -> Any:
  kwargs = config.to_dict()
  for name in extra.keys() & kwargs.keys():
    raise errors.ConfigError(
      f'{name} of {kind} follows from the rest of the run; leave it out of '
      'the config'
    )
  if 'name' not in kwargs:
    raise errors.ConfigError(
      f'a name is missing; {kind} there are: '
      f'{", ".join(registry.available(kind))}'
    )
  return registry.make(kind, kwargs.pop('name'), **extra, **kwargs)


def _run(config, parts, writer, folder) -> tuple[dict[str, Any], types.Params]:
  """The loop over chunks of steps: progress, evaluations, checkpoints.

  The last step is always evaluated and, if any is, checkpointed.
  """
  facts = _facts(config, parts.train)
  state, clocks = _start(config, parts, writer, folder, facts)
  logging.info('%s on %s', config.model.name, devices.describe())
  chunks = training.fit(
    parts.model,
    parts.train,
    optimizer=parts.optimizer,
    schedule=parts.schedule,
    augment=parts.augment,
    label_smoothing=config.label_smoothing,
    batch_size=config.batch_size,
    epochs=config.epochs,
    seed=config.seed,
    state=state,
  )
  steps = -(-len(parts.train) // config.batch_size) * config.epochs
  scores, first = None, True
  with progress_lib.Progress(steps, done=int(state.step)) as bar:
    began, done = time.monotonic(), int(state.step)
    for chunk in chunks:
      clocks['compile' if first else 'train'] += time.monotonic() - began
      first = False
      bar.update(chunk.row - done, loss=chunk.loss)
      began, done, state = time.monotonic(), chunk.row, chunk.state
      epoch = done * config.epochs // steps
      if not chunk.epoch_ended:
        continue
      if epoch % config.eval_every == 0 or done == steps:
        scores = training.evaluate(parts.model, state.params, parts.test)
        named = {f'test/{name}': value for name, value in scores.items()}
        writer.scalars(done, {'train/loss': chunk.loss, 'epoch': epoch}, named)
        clocks['evaluate'] += time.monotonic() - began
      every = config.checkpoint_every
      if every and (epoch % every == 0 or done == steps):
        _checkpoint(folder, state, {'seconds': clocks, **facts})
      began = time.monotonic()
  if scores is None:  # A finished run was opened again.
    scores = training.evaluate(parts.model, state.params, parts.test)
  if not math.isfinite(scores['loss']):
    raise errors.TrainingDiverged(f'the test loss is {scores["loss"]}')
  return _summary(config, parts, state, scores, clocks), state.params


def _facts(config: ConfigDict, data: types.Dataset) -> dict[str, Any]:
  """What a checkpoint must agree on before a run goes on from it.

  `inputs` is one digest over the configuration and every row trained on, by
  id and content: a deleted row must not live on in a resumed run.
  """
  order = np.argsort(data.ids, kind='stable')
  settings = files.to_json(config.to_dict())
  public = json.dumps([settings, data.ids[order].tolist()], sort_keys=True)
  inputs = hashlib.sha256(public.encode())
  inputs.update(data.content_digests(order).tobytes())
  return {'inputs': inputs.hexdigest(), 'machine': devices.fingerprint()}


def _check_same(path: pathlib.Path, then, now) -> None:
  """Refuses other inputs, and says so when the machine is another one."""
  if then.get('inputs') != now['inputs']:
    raise errors.WorkdirError(
      f'the training data or the configuration changed since {path} was '
      'saved: going on would keep what was removed. --overwrite starts over'
    )
  moved = writer_lib.differences(
    *(devices.comparable(facts['machine']) for facts in (then, now))
  )
  if moved:
    logging.warning(
      'the interrupted run was on another machine or setup, so the rest of it '
      'may have other bits: %s',
      '; '.join(moved),
    )


def _start(config, parts, writer, folder, facts):
  """The state a fit begins with, and the seconds spent so far."""
  state = _initial_state(config, parts)
  clocks = {'compile': 0.0, 'train': 0.0, 'evaluate': 0.0}
  last = checkpoints.latest(folder)
  if last is not None:
    _check_same(last, checkpoints.load_meta(last), facts)
    state, meta = checkpoints.load(last, like=state)
    clocks = meta['seconds']
    logging.info('going on at step %d of %s', int(state.step), last)
    _drop_others(folder, last)  # A kill may have left one.
  if writer.resumed:
    writer.rewind(int(state.step))
  return state, clocks


def _checkpoint(folder, state, meta) -> None:
  """Saves `state`, then drops every other checkpoint."""
  path = folder / f'step_{int(state.step)}'
  checkpoints.save(path, jax.device_get(state), meta)
  _drop_others(folder, path)


def _drop_others(folder: pathlib.Path, newest: pathlib.Path) -> None:
  for other in folder.iterdir():
    if other != newest and checkpoints.exists(other):
      shutil.rmtree(other)


def _summary(config, parts, state: step.TrainState, scores, clocks):
  rows = len(parts.train)
  return {
    'model': config.model.name,
    'data': parts.train.name,
    'rows': rows,
    'test_rows': len(parts.test),
    'parameters': trees.count(state.params),
    'trainable': training.count_trainable(parts.model, state.params),
    'epochs': config.epochs,
    'steps': int(state.step),
    'seed': config.seed,
    'test': scores,
    'seconds': clocks,
    **_pace(config, rows, clocks['train']),
    'digest': trees.digest(state.params),
    'device': devices.describe(),
  }


def _pace(config, rows: int, seconds: float) -> dict[str, float]:
  """Nothing when the whole run was one chunk, which is all compilation."""
  if not seconds:
    return {}
  return {'examples_per_second': config.epochs * rows / seconds}
