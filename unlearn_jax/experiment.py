"""The composition root: configs in, objects built, runs done.

This is the only module of the package that sees a ConfigDict. Binaries call
its functions; everything below takes plain arguments.
"""

import dataclasses
import pathlib
import shlex
import shutil
import time
from collections.abc import Sequence
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
  optimizers,
  registry,
  step,
  training,
  trees,
  types,
)
from unlearn_jax.models import _vit_weights
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
  c.augment = ConfigDict()  # of unlearn_jax/augment.py, such as shift=2
  c.label_smoothing = 0.0
  c.batch_size = 64
  c.epochs = 10
  c.seed = 0
  # What happens on the way.
  c.eval_every = 1  # epochs between evaluations on the test split
  c.checkpoint_every = 1  # epochs between checkpoints; 0: none
  c.tensorboard = False  # needs the extra [tensorboard]
  return c


def check_variant(variant: str, allowed: Sequence[str]) -> None:
  """Refuses a `config.py:variant` that the config does not have."""
  if variant and variant not in allowed:
    raise errors.unknown_name('variant of the config', variant, allowed)


def fit(
  config: ConfigDict,
  workdir: str,
  *,
  binary: str = 'fit',
  argv: Sequence[str] = (),
  overwrite: bool = False,
) -> tuple[dict[str, Any], types.Params]:
  """Trains one model and evaluates it; goes on where a run was interrupted.

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
    if not writer.resumed:
      shutil.rmtree(folder, ignore_errors=True)
    checkpoints.sweep(folder)
    summary, params = _run(config, parts, writer, folder)
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
  summary, params = fit(
    config, workdir, binary='pretrain', argv=argv, overwrite=overwrite
  )
  backbone = trees.partition(params, lambda p: not p.startswith('head/'))[0]
  facts = {
    'digest': trees.digest(backbone),
    'seed': str(config.seed),
    'command': shlex.join(argv),
    'accuracy': f'{summary["test"]["accuracy"]:.4f}',
  }
  _vit_weights.save(output, params, facts)
  summary |= {'output': output, 'backbone_digest': facts['digest']}
  files.write_json(pathlib.Path(workdir) / 'pretrain.json', summary)
  return summary


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
  for name in ('batch_size', 'epochs', 'eval_every'):
    if config[name] < 1:
      raise errors.ConfigError(f'{name} is at least 1, got {config[name]}')
  train = _make('data', config.data, split='train')
  if not 0 <= config.rows <= len(train):
    raise errors.ConfigError(
      f'rows is between 0 and {len(train)}, got {config.rows}'
    )
  num_outputs = train.task.num_outputs
  optimizer = config.optimizer.to_dict()
  return _Parts(
    train=train.subset(np.arange(config.rows)) if config.rows else train,
    test=_make('data', config.data, split='test'),
    model=_make('models', config.model, num_outputs=num_outputs),
    optimizer=optimizers.make(optimizer.pop('name'), **optimizer),
    schedule=optimizers.make_schedule(**config.schedule.to_dict()),
    augment=augment.make(config.augment.to_dict()),
  )


def _make(kind: str, config: ConfigDict, **extra: Any) -> Any:
  kwargs = config.to_dict()
  return registry.make(kind, kwargs.pop('name'), **extra, **kwargs)


def _run(config, parts, writer, folder) -> tuple[dict[str, Any], types.Params]:
  """The loop over chunks of steps: progress, evaluations, checkpoints."""
  state, clocks = _start(config, parts, writer, folder)
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
  scores, first = {}, True
  with progress_lib.Progress(steps, done=int(state.step)) as bar:
    began, done = time.monotonic(), int(state.step)
    for chunk in chunks:
      clocks['compile' if first else 'train'] += time.monotonic() - began
      first = False
      bar.update(chunk.row - done, loss=chunk.loss)
      began, done, state = time.monotonic(), chunk.row, chunk.state
      epoch = done * config.epochs // steps
      if chunk.epoch_ended and _due(epoch, config.eval_every):
        scores = training.evaluate(parts.model, state.params, parts.test)
        named = {f'test/{name}': value for name, value in scores.items()}
        writer.scalars(done, {'train/loss': chunk.loss, 'epoch': epoch}, named)
        clocks['evaluate'] += time.monotonic() - began
      if chunk.epoch_ended and _due(epoch, config.checkpoint_every):
        _checkpoint(folder, state, clocks)
      began = time.monotonic()
  scores = training.evaluate(parts.model, state.params, parts.test)
  return _summary(config, parts, state, scores, clocks), state.params


def _start(config, parts, writer, folder):
  """The state a fit begins with, and the seconds spent so far."""
  state = training.initial_state(
    parts.model, parts.train, parts.optimizer, config.seed
  )
  clocks = {'compile': 0.0, 'train': 0.0, 'evaluate': 0.0}
  last = checkpoints.latest(folder)
  if last is not None:
    state, meta = checkpoints.load(last, like=state)
    clocks = meta['seconds']
    logging.info('going on at step %d of %s', int(state.step), last)
  if writer.resumed:
    writer.rewind(int(state.step))
  return state, clocks


def _checkpoint(folder, state, clocks) -> None:
  """Saves `state`, then drops the checkpoint before it."""
  before = checkpoints.latest(folder)
  path = folder / f'step_{int(state.step)}'
  checkpoints.save(path, jax.device_get(state), {'seconds': clocks})
  if before is not None:
    shutil.rmtree(before)


def _due(epoch: int, every: int) -> bool:
  return bool(every) and epoch % every == 0


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
    'examples_per_second': _pace(config, rows, clocks['train']),
    'digest': trees.digest(state.params),
    'device': devices.describe(),
  }


def _pace(config, rows: int, seconds: float) -> float | None:
  return config.epochs * rows / seconds if seconds else None
