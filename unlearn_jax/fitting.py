"""One model, fitted as a config says: progress, evaluations, checkpoints.

A run that was interrupted goes on where it was; one of other data or another
config is refused.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax
from absl import logging

from unlearn_jax import (
  augment,
  checkpoints,
  devices,
  errors,
  fields,
  files,
  optimizers,
  registry,
  step,
  training,
  trees,
  types,
)
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.study import writer as writer_lib

Config = Any  # with the fields of `fields.fit_config`


def fit(
  config: Config,
  workdir: str,
  *,
  binary: str = 'fit',
  argv: Sequence[str] = (),
  overwrite: bool = False,
  finish: Callable[[dict[str, Any], types.Params], None] | None = None,
) -> tuple[dict[str, Any], types.Params]:
  """Trains one model and evaluates it; goes on where a run was interrupted.

  Args:
    config: as `fields.fit_config` has it.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Parts:
  """The objects a config stands for."""

  train: types.Dataset
  test: types.Dataset
  model: types.Model
  optimizer: optax.GradientTransformation
  schedule: optimizers.Schedule
  augment: augment.Augment | None


def _build(config: Config) -> _Parts:
  missing = [name for name in fields.fit_config() if name not in config]
  if missing:
    raise errors.ConfigError(
      f'the config is of no fit: it lacks {", ".join(missing)}'
    )
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


def _check_numbers(config: Config) -> None:
  for name in ('batch_size', 'epochs', 'eval_every'):
    if config[name] < 1:
      raise errors.ConfigError(f'{name} is at least 1, got {config[name]}')
  if config.checkpoint_every < 0:
    raise errors.ConfigError(
      'checkpoint_every is at least 1, or 0 for no checkpoints, got '
      f'{config.checkpoint_every}'
    )
  errors.check_fraction('label_smoothing', config.label_smoothing)


def _initial_state(config: Config, parts: _Parts) -> step.TrainState:
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


def _make(kind: str, config: Config, **extra: Any) -> Any:
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


def _facts(config: Config, data: types.Dataset) -> dict[str, Any]:
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
