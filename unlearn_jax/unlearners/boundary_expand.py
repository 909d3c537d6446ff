"""Gives what goes to a class of its own, which is then dropped.

After Chen et al. (CVPR 2023). The model gets one more output, all that goes is
trained to be there, and the output is taken away. Neither a label nor what
stays is read, so statistics of layers do not move.
"""

import dataclasses

import jax
import jax.numpy as jnp

from unlearn_jax import keys, types
from unlearn_jax.unlearners import _door, _passes

READS = ('forget.x',)
TUNED = {'learning_rate': (1e-6, 1e-1)}
_EXTRA = 'extra_class'


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 1e-5,
  momentum: float = 0.9,
  epochs: int = 10,
  batch_size: int = 64,
):
  """Trains what goes on the class that is none.

  Args:
    learning_rate: of SGD, without decay; 1e-5 as published, for a class.
    momentum: of SGD.
    epochs: passes over what goes.
    batch_size: rows of a step.
  """
  _passes.check_task(data, 'classification')
  rows = data.forget._replace(
    y=jnp.full(data.forget.weight.shape, data.task.num_outputs, jnp.int32)
  )
  extra = _output(model, params, data.forget.x, keys.stream(key, 'output'))
  wider = _wider(model)
  if data.kept is not None:
    free = {
      f'{_EXTRA}/{name}': jnp.ones(leaf.shape, bool)
      for name, leaf in extra.items()
    }
    data = dataclasses.replace(data, kept={**data.kept, **free})
  made = _passes.descend(
    _passes.trainer(wider, data, _passes.sgd(learning_rate, momentum)),
    {**params, _EXTRA: extra},
    rows,
    _passes.still(wider, data.loss),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )
  return {name: tree for name, tree in made.items() if name != _EXTRA}


def _output(model, params, x, key):
  """A linear output over what the last layer sees."""
  size = jax.eval_shape(model.features, params, x[:1]).shape[-1]
  spread = size**-0.5
  return {
    'bias': jnp.zeros(()),
    'kernel': spread * jax.random.normal(key, (size,)),
  }


def _wider(model: types.Model) -> types.Model:
  """`model` with one more output, last."""

  def forward(params, x, **how):
    extra = params[_EXTRA]
    out = model.forward(
      {name: tree for name, tree in params.items() if name != _EXTRA}, x, **how
    )
    more = out.features @ extra['kernel'] + extra['bias']
    return out._replace(
      logits=jnp.concatenate([out.logits, more[:, None]], axis=-1)
    )

  def trainable(path):
    return path.startswith(f'{_EXTRA}/') or model.trainable(path)

  return dataclasses.replace(model, forward=forward, trainable=trainable)


make = _door.door(unlearn, READS)
