"""Label-agnostic forgetting sees every row that stays, in every pass."""

import collections

import jax
import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import registry, types
from unlearn_jax.unlearners import _words

FORGET = np.array([2, 5, 11])
EPOCHS, BATCH = 2, 8


@pytest.mark.parametrize('name', ['laf', 'laf_repair'])
def test_examples_read_are_examples_declared(name):
  data, seen = test_fleet.data(), []

  def forward(params, x, **how):
    if len(x) == 2 * BATCH:  # a batch of both, not a look at all features
      jax.debug.callback(lambda rows: seen.append(np.array(rows)), x)
    return test_fleet.MODEL.forward(params, x, **how)

  model = types.Model(init=test_fleet.MODEL.init, forward=forward)
  mine = test_fleet.fleet(epochs=1)
  params = test_fleet.together(mine.train(np.ones((1, 21), bool)))
  request = _words.Request(
    model=model, params=params, data=data, forget=FORGET, width=1
  )
  made = registry.make('unlearners', name, epochs=EPOCHS, batch_size=BATCH)
  record = made(request).record
  jax.effects_barrier()
  rows = {row.tobytes(): i for i, row in enumerate(data.all().x)}
  read = collections.Counter(
    rows[row.tobytes()] for batch in seen for row in batch if row.any()
  )
  steps = -(-len(request.retain) // BATCH)
  # Two losses; what goes is read again until what stays has ended.
  assert all(read[i] == 2 * EPOCHS for i in request.retain)
  goes = [read[i] for i in FORGET]
  assert sum(goes) == 2 * EPOCHS * steps * BATCH
  assert max(goes) - min(goes) <= 2 * EPOCHS
  repaired = len(request.retain) if name == 'laf_repair' else 0
  assert record.gradients == sum(read.values()) + repaired
