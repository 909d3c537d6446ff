"""A fleet on two simulated devices against the same models one by one.

For a process in which jax has not started, like `placement`.
"""

import pathlib

import jax
import numpy as np

from unlearn_jax import devices as devices_lib
from unlearn_jax import losses, optimizers, registry, step
from unlearn_jax.fleet import fleet as fleet_lib
from unlearn_jax.study.speed import pairs, placement

_MODELS, _ROWS, _BATCH, _EPOCHS = 128, 400, 100, 80
_ALONE = 2  # models whose steps are called one by one from Python


def fleet(folder: pathlib.Path, quick: bool) -> list[pairs.Row]:
  """Models a second of a fleet of digits MLPs, and against two baselines."""
  del folder
  count = 3 if quick else 9
  devices_lib.simulate(2)
  mine = fleet_lib.Fleet(
    model=registry.make('models', 'mlp', num_outputs=10, hidden=(32,)),
    data=placement.random_images(_ROWS, (64,)),
    optimizer=optimizers.make('sgd', learning_rate=0.1, momentum=0.9),
    schedule=optimizers.make_schedule('linear', warmup=0.2),
    batch_size=_BATCH,
    epochs=_EPOCHS,
  )
  seen = np.ones((_MODELS, _ROWS), np.float32)
  indices = np.arange(_MODELS, dtype=np.int32)

  def together():
    for chunk in mine.train(seen):
      jax.block_until_ready(chunk.params)

  span = (np.int32(0), np.int32(mine.epochs))

  @jax.jit
  def scan(shared, models):
    return jax.lax.map(lambda model: mine._fit_one(shared, *model), models)

  def one_by_one():
    jax.block_until_ready(scan((mine._table, span), (indices, seen)))

  one_step = jax.jit(
    step.make_step(
      step.supervised(mine.model, losses.cross_entropy),
      mine.optimizer,
      schedule=mine.schedule,
    )
  )
  table, key = jax.device_put(mine._table), jax.random.key(0)
  gather = jax.jit(step.gather)
  plan = np.arange(_ROWS, dtype=np.int32).reshape(-1, _BATCH)
  start = step.init_state(
    mine.model.init(key, mine._table.x[:1]), mine.optimizer
  )

  def step_by_step():
    for _ in range(_ALONE):
      state = start
      for i in range(_EPOCHS * len(plan)):
        batch = gather(table, plan[i % len(plan)])
        state, _ = one_step(state, batch, key, i / (_EPOCHS * len(plan)))
      jax.block_until_ready(state)

  for run in (together, one_by_one, step_by_step):
    run()  # compiles
  inside = pairs.measure(one_by_one, together, count)
  calls, again = pairs.measure(step_by_step, together, count)
  rate = _MODELS / inside.second
  named = {'models': _MODELS, 'rows': _ROWS, 'epochs': _EPOCHS}
  return [
    pairs.spread(rate, '/s', 'models', [25, 50, 75], details=named),
    inside.row('one by one inside jit / fleet', 'fleet', '>= 1.6', **named),
    pairs.Times(calls * (_MODELS / _ALONE), again).row(
      'step by step from Python / fleet', 'fleet', '>= 30', **named
    ),
  ]
