"""Steps inside one program against a compiled step called from Python."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import keys, losses, optimizers, registry, step, types
from unlearn_jax.study.speed import pairs

_BATCH = 64
_ROWS = 1024
# A model, the shape of its inputs, and steps timed at once in a loop. Native
# convolutions in a loop are so slow that few must do.
_CASES = {
  'mlp': ({'name': 'mlp'}, (64,), 2000),
  'cnn': ({'name': 'cnn', 'conv': 'im2col'}, (28, 28, 1), 64),
  'native cnn': ({'name': 'cnn', 'conv': 'native'}, (28, 28, 1), 8),
}


class Trainer:
  """One model that takes steps in a loop, or called one by one."""

  def __init__(self, model: dict[str, Any], shape: tuple[int, ...]):
    task = types.Task('classification', 10)
    arguments = dict(model)
    self._model = registry.make(
      'models', arguments.pop('name'), num_outputs=10, **arguments
    )
    optimizer = optimizers.make('adam', learning_rate=1e-3)
    one = step.make_step(
      step.supervised(self._model, losses.of_task(task)), optimizer
    )
    rng = np.random.default_rng(0)
    self._table = jax.device_put(
      step.Table(
        rng.normal(size=(_ROWS, *shape)).astype(np.float32),
        rng.integers(0, 10, _ROWS).astype(np.int32),
        keys.id_words(np.arange(_ROWS)),
      )
    )
    plan = rng.integers(0, _ROWS, (4096, _BATCH)).astype(np.int32)
    self._plan = jax.device_put(plan)
    self._key = keys.root(0)
    params = self._model.init(self._key, np.zeros((1, *shape), np.float32))
    self._start = step.init_state(params, optimizer)
    self._loop = jax.jit(step.make_loop(one), donate_argnums=0)
    self._step = jax.jit(
      lambda state, table, plan, row, key: one(
        state, step.gather(table, plan[row]), key
      )[0],
      donate_argnums=0,
    )

  def in_loop(self, steps: int) -> None:
    state, _ = self._loop(
      self._fresh(), self._table, self._plan, self._key, 0, steps, steps
    )
    jax.block_until_ready(state)

  def from_python(self, steps: int) -> None:
    state = self._fresh()
    for row in range(steps):
      state = self._step(state, self._table, self._plan, row, self._key)
    jax.block_until_ready(state)

  def _fresh(self) -> step.TrainState:
    return jax.block_until_ready(jax.tree.map(jnp.copy, self._start))


def loop(folder: pathlib.Path, quick: bool) -> list[pairs.Row]:
  """The loop inside jit, and the convolutions in it."""
  del folder
  count = 5 if quick else 15
  made = {name: Trainer(*case[:2]) for name, case in _CASES.items()}
  for trainer in made.values():
    trainer.in_loop(1)  # compiles
  rows = [_against_python(name, made[name], count) for name in ('mlp', 'cnn')]
  # As many steps each, the ratio is of the rates.
  n = _CASES['native cnn'][2]
  times = pairs.measure(
    lambda: made['native cnn'].in_loop(n),
    lambda: made['cnn'].in_loop(n),
    min(count, 5),
  )
  what = 'cnn in the loop: native / im2col'
  rows.append(times.row(what, 'im2col in the loop', **_paces(times, n)))
  return rows


def _against_python(name: str, trainer: Trainer, count: int) -> pairs.Row:
  n = _CASES[name][2]
  trainer.from_python(1)  # compiles
  times = pairs.measure(
    lambda: trainer.from_python(n), lambda: trainer.in_loop(n), count
  )
  what = f'{name}: step from Python / loop inside jit'
  return times.row(what, 'loop inside jit', **_paces(times, n))


def _paces(times: pairs.Times, steps: int) -> dict[str, float]:
  examples = steps * _BATCH
  return {
    'examples_per_second': examples / float(np.median(times.first)),
    'baseline_examples_per_second': examples / float(np.median(times.second)),
  }
