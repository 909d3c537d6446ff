"""What a system is worth on the test split of its data."""

from typing import Any

import numpy as np
from absl import logging

from unlearn_jax import errors, losses, training
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import serving, stages
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study import progress as progress_lib


def scores(system: system_lib.System) -> dict[str, float] | None:
  """What the system is worth now; None without a test split, or when dead."""
  try:
    test = system.recipe.open_data('test')
  except errors.ConfigError as error:  # Users' own files may have none.
    logging.info('no test scores: %s', error)
    return None
  if not len(test) or not any(system.status()['served_depths']):
    return None
  outputs, y = system.predict(test.all().x), test.labels
  if test.task.kind == 'classification':
    return {'accuracy': float(np.mean(losses.correct(outputs, y)))}
  loss = float(np.mean(losses.of_task(test.task)(outputs, y)))
  return {'loss': loss, 'r2': training.r_squared(loss, y)}


def by_depth(system: system_lib.System) -> dict[str, Any]:
  """What a whole system is worth at every depth.

  At depth k each shard answers with the first k stages of a sequence, the same
  one in all shards; `first` is the sequence that serves, the range is over all
  of them, and `all` averages every sequence of every shard. Then the ways to
  combine the shards that serve, at full depth.
  """
  test = system.recipe.open_data('test')
  if test.task.kind != 'classification':
    raise errors.ConfigError(
      f'depths are compared by accuracy; {test.name} is a {test.task.kind}'
    )
  x, orders = test.all().x, system.sequences
  found = {}
  with progress_lib.Progress(len(system.wanted), 'depths', 'stages') as bar:
    for stage in system.wanted:
      found[stage] = system.answers([stage], x)[0]
      bar.update(1)

  def worth(aggregate, chosen, depth):
    answers = [
      found[stages.Stage(shard, order[:depth])]
      for shard in range(system.recipe.shards)
      for order in chosen
    ]
    outputs = serving.combine(np.stack(answers), aggregate)
    return float(np.mean(losses.correct(outputs, test.labels)))

  rows, usual = [], system.recipe.aggregate
  for depth in range(1, system.recipe.slices + 1):
    each = [worth(usual, [order], depth) for order in orders]
    rows.append(
      {
        'depth': depth,
        'first': each[0],
        'lowest': min(each),
        'highest': max(each),
        'all': worth(usual, orders, depth),
      }
    )
  combined = {
    way: worth(way, orders[:1], system.recipe.slices)
    for way in recipe_lib.AGGREGATES
  }
  return {'depths': rows, 'combined': combined}
