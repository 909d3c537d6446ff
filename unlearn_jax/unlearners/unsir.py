"""Trains on noise that is labelled as what goes, then heals with what stays.

After Tarun et al. (2023). What goes is not looked at, only its labels are: for
each of them an input is found that the model takes least for that class.
Trained on these, it unlearns what the class looks like. Made for whole classes.
"""

import jax
import jax.numpy as jnp

from unlearn_jax import keys
from unlearn_jax.unlearners import _door, _passes

READS = ('forget.y', 'retain.x', 'retain.y')
TUNED = {'learning_rate': (1e-4, 1e-1)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  noise_rate: float = 0.1,
  noise_steps: int = 40,
  flatness: float = 0.1,
  learning_rate: float = 0.02,
  healing_rate: float = 0.01,
  part: float = 0.3,
  epochs: int = 1,
  batch_size: int = 64,
):
  """A noise row for each row that goes.

  Args:
    noise_rate: of Adam, for the noise; 0.1 as published.
    noise_steps: of Adam, for the noise.
    flatness: weight of its mean squared value; 0.1 as published.
    learning_rate: of Adam, for the model on noise and a part of what stays.
    healing_rate: of Adam, for the model on all that stays after that.
    part: of what stays that is mixed with the noise.
    epochs: of each of the two; 1 as published.
    batch_size: rows of a step.
  """
  _passes.check_task(data, 'classification')
  noise = data.forget._replace(
    x=_noise(
      model,
      params,
      data,
      keys.stream(key, 'noise'),
      rate=noise_rate,
      steps=noise_steps,
      flatness=flatness,
    )
  )
  some = _passes.some(data.retain, part, keys.stream(key, 'part'))
  for name, rate, rows in (
    ('impair', learning_rate, _passes.join(noise, some)),
    ('heal', healing_rate, data.retain),
  ):
    params = _passes.descend(
      _passes.trainer(model, data, _passes.adam(rate)),
      params,
      rows,
      _passes.moving(model, data.loss, data),
      keys.stream(key, name),
      epochs=epochs,
      batch_size=batch_size,
    )
  return params


def _noise(model, params, data, key, *, rate, steps, flatness):
  """Inputs [rows, ...] with a large loss of the labels of what goes."""
  rows, adam = data.forget, _passes.adam(rate)
  shape = data.retain.x.shape[1:]

  def of_row(row_key, y):
    def objective(x):
      loss = data.loss(model.apply(params, x[None]), y[None])[0]
      return flatness * jnp.mean(x * x) - loss

    def a_step(_, carry):
      x, state = carry
      move, state = adam.update(jax.grad(objective)(x), state)
      return x + move, state

    x = jax.random.normal(row_key, shape)
    return jax.lax.fori_loop(0, steps, a_step, (x, adam.init(x)))[0]

  data.spend('gradients', steps * rows.count)
  return jax.lax.map(
    lambda row: of_row(*row), (keys.rows(key, rows.id), rows.y), batch_size=256
  )


make = _door.door(unlearn, READS)
