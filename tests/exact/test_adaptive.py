"""Who leaves because of what the system says leaves like anybody else.

Each request looks at the answers of the system first: its surest points leave,
or the right ones, or those of one shard or one side of a boundary. After
repair all of it is what a fresh build on the survivors is, bit for bit. What
that means, and what it does not, is said in `exact/partition.py`.
"""

import numpy as np
import pytest

from tests import sizes
from tests.exact import tiny
from unlearn_jax import registry

IDS, STREAMS, REQUESTS = 40, 25, 4


def _surest(answers, y):
  """Highest confidence in the label first."""
  return -_confidence(answers, y)


def _least_sure(answers, y):
  return _confidence(answers, y)


def _right(answers, y):
  """Only those that are answered correctly."""
  right = answers.mean(axis=0).argmax(-1) == y
  return np.where(right, -_confidence(answers, y), np.inf)


def _of_the_surest_shard(answers, y):
  """Whose shard is guessed, from the models' answers, to be the first one."""
  each = np.stack([_confidence(one[None], y) for one in answers])
  return np.where(each.argmax(axis=0) == 0, -each[0], np.inf)


def _of_the_largest_gap(answers, y):
  """On whom the models of the shards differ most: they betray who saw it."""
  each = np.stack([_confidence(one[None], y) for one in answers])
  return -(each.max(axis=0) - each.min(axis=0))


POLICIES = (
  _surest,
  _least_sure,
  _right,
  _of_the_surest_shard,
  _of_the_largest_gap,
)


def _confidence(answers, y):
  """[n] of the label: mean over models of the softmax."""
  p = np.exp(answers - answers.max(axis=-1, keepdims=True))
  p /= p.sum(axis=-1, keepdims=True)
  return p.mean(axis=0)[np.arange(len(y)), y]


def _request(system, policy, data, alive):
  """Up to three ids that the policy picks; none when it finds none."""
  rows = np.flatnonzero(alive)
  examples = data.take(rows)
  served = [stage for stage in system._view.stages if stage]
  if not served:
    return []
  answers = system.answers(served, examples.x)
  score = policy(answers, examples.y)
  order = np.argsort(score, kind='stable')
  return [int(i) for i in rows[order[:3]] if np.isfinite(score[order[0]])]


def stream(folder, seed):
  """Requests that follow the answers, then a look from a clean room."""
  rng = np.random.default_rng(seed)
  policy = POLICIES[seed % len(POLICIES)]
  fields = {'placement': {'salt': f'salt {seed}'}, 'seed': seed}
  with tiny.system(folder, range(IDS), epochs=3, **fields) as system:
    data = registry.make('data', **system.recipe.data)
    alive, before = np.ones(IDS, bool), system.names()
    system.train()
    asked = 0
    for _ in range(REQUESTS):
      ids = _request(system, policy, data, alive)
      if ids:
        asked += len(ids)
        assert system.delete(ids).deleted == len(ids)
        alive[ids] = False
      if rng.random() < 0.5:
        system.repair()
    system.repair()
    assert asked and system.names() != before
    # A clean room on survivors that never heard of any request.
    clean = data.subset(np.flatnonzero(alive))
    found = system.audit('E3', clean)
    assert found.passed and found.checked == len(system.wanted)


@pytest.mark.parametrize('seed', range(STREAMS))
def test_an_adaptive_stream_ends_where_a_fresh_build_does(seed, tmp_path):
  stream(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(STREAMS, STREAMS + sizes.share(200)))
def test_more_adaptive_streams(seed, tmp_path):
  stream(tmp_path, seed)
