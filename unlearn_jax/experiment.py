"""The composition root: configs in, objects built, runs done.

This is the only module of the package that sees a ConfigDict. Binaries call
its functions; everything below takes plain arguments.
"""

import time
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import logging

from unlearn_jax import (
  augment,
  devices,
  optimizers,
  registry,
  step,
  types,
)
from unlearn_jax.study import progress as progress_lib
from unlearn_jax.study import writer as writer_lib

ConfigDict = ml_collections.ConfigDict


def fit_config() -> ConfigDict:
  """Every field of a plain fit, with its default. Configs fill in the rest."""
  c = ConfigDict()
  # What is trained on what. `name` is a file of unlearn_jax/data or /models,
  # the other fields are arguments of its `make`.
  c.data = ConfigDict({'name': ''})  # split='train' and 'test' are added
  c.rows = 0  # train on the first rows only; 0: on all
  c.model = ConfigDict({'name': ''})  # num_outputs is added
  # How.
  c.optimizer = ConfigDict({'name': 'adam', 'learning_rate': 1e-3})
  c.schedule = ConfigDict({'name': 'constant', 'warmup': 0.0})
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


def fit(
  config: ConfigDict,
  workdir: str,
  *,
  binary: str = 'fit',
  argv: Sequence[str] = (),
  overwrite: bool = False,
) -> tuple[dict[str, Any], types.Params]:
  """Trains one model and evaluates it; resumes where a run was interrupted.

  Returns:
    The summary, also written to `<workdir>/<binary>.json`, and the parameters.
  """
  # Before anything is written: a wrong name or value costs nothing.
  job = _FitJob(config)
  with writer_lib.Writer(
    workdir,
    binary=binary,
    config=config.to_dict(),
    argv=argv,
    overwrite=overwrite,
    tensorboard=config.tensorboard,
  ) as writer:
    state = job.run(writer)
    summary = job.summary(state)
    writer.summary(summary)
  return summary, state.params


def load_data(config: ConfigDict, split: str) -> types.Dataset:
  """The data set of a config's `data` block."""
  return _make('data', config, split=split)


def _make(kind: str, config: ConfigDict, **extra):
  kwargs = config.to_dict()
  name = kwargs.pop('name')
  return registry.make(kind, name, **{**extra, **kwargs})


class _FitJob:
  """The objects of one fit, and the clocks it is measured by."""

  def __init__(self, config: ConfigDict):
    self.config = config
    data = load_data(config.data, 'train')
    self.train = data.subset(np.arange(config.rows)) if config.rows else data
    self.test = load_data(config.data, 'test')
    self.model = _make(
      'models', config.model, num_outputs=data.task.num_outputs
    )
    kwargs = config.optimizer.to_dict()
    self.optimizer = optimizers.make(kwargs.pop('name'), **kwargs)
    self.schedule = optimizers.make_schedule(**config.schedule.to_dict())
    self.augment = augment.make(config.augment.to_dict())
    self.seconds = {'train': 0.0, 'first_step': 0.0, 'evaluate': 0.0}
    self.scores = {}

  def run(self, writer: writer_lib.Writer) -> step.TrainState:
    """The loop over chunks: progress, evaluation, checkpoints."""
    config, folder = self.config, writer.workdir / 'checkpoints'
    state = self._resume(writer, folder)
    logging.info('%s on %s', config.model.name, devices.describe())
    total = self._total_steps()
    bar = progress_lib.Progress(total, 'train', 'steps')
    done = int(state.step)
    bar.update(done)
    clock = time.monotonic()
    for chunk in self._chunks(state):
      elapsed = time.monotonic() - clock
      kind = 'first_step' if chunk.row == int(state.step) + 1 else 'train'
      self.seconds[kind] += elapsed
      bar.update(chunk.row - done, loss=chunk.loss)
      done = chunk.row
      if chunk.epoch_ended:
        self._end_of_epoch(writer, folder, chunk)
      clock = time.monotonic()
    bar.close()
    return chunk.state if done > int(state.step) else state
