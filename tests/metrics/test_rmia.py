"""RMIA against a plain loop, and what is no probability."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.metrics import rmia


def _plain(chances, reference, gamma, a):
  """Scores of one model's forgotten and unseen examples."""
  ratios = [
    [p / ((1 + a) / 2 * q + (1 - a) / 2) for p, q in zip(*pair, strict=True)]
    for pair in zip(chances, reference, strict=True)
  ]
  return [
    [np.mean([x / z >= gamma for z in ratios[2]]) for x in kind]
    for kind in ratios[:2]
  ]


@pytest.mark.parametrize('gamma', rmia.GAMMAS)
def test_as_a_plain_loop(gamma):
  inputs = rmia.null(0, models=3)
  found = rmia.make(gamma=gamma)(**inputs)
  reference = [x.mean(axis=0) for x in inputs['references']]
  aucs = []
  for model in range(3):
    mine = [x[model] for x in inputs['unlearned']]
    best = (-1,)
    for a in (0, 0.2, 0.4, 0.6, 0.8, 1):
      yes, no = map(np.array, _plain(mine, reference, gamma, a))
      above = np.mean(yes[:, None] > no) + np.mean(yes[:, None] == no) / 2
      cut = min(t for t in no if np.mean(no > t) <= 0.01)
      if above > best[0] + 1e-12:
        best = above, np.mean(yes > cut), a
    aucs.append(best[0])
    assert found.tpr[model] == pytest.approx(best[1])
    assert found.a[model] == best[2]
  assert found.auc.value == pytest.approx(np.mean(aucs))


def test_what_was_not_forgotten_is_found():
  inputs = rmia.null(1, forget=200, unseen=300)
  left = inputs['unlearned']._replace(
    forget=1 - 0.2 * (1 - inputs['unlearned'].forget)
  )
  found = rmia.make()(**(inputs | {'unlearned': left}))
  assert found.auc.low > 0.6 > found.floor.high and not found.at_floor
  assert (found.difference.per_model > 0.1).all()
  assert found.tpr.mean() > found.tpr_oracles.mean()


def test_losses_are_refused():
  inputs = rmia.null(0)
  for name in ('unlearned', 'oracles', 'references'):
    losses = rmia.Chances(*(-np.log(x / 9) for x in inputs[name]))
    with pytest.raises(errors.DataError, match=rf'{name}.*\[0, 1\].*losses'):
      rmia.make()(**(inputs | {name: losses}))


def test_one_reference_is_enough_and_zeros_are_no_fault():
  inputs = rmia.null(0)
  one = rmia.Chances(*(x[:1] for x in inputs['references']))
  zeros = rmia.Chances(*(np.where(x < 0.5, 0, x) for x in one))
  found = rmia.make()(**(inputs | {'references': zeros}))
  assert np.isfinite(found.auc).all()


def test_the_floor_is_the_scatter_of_scores_that_know_nothing():
  rng = np.random.default_rng(0)
  aucs = [
    np.mean(rng.random(80)[:, None] > rng.random(80)) for _ in range(2000)
  ]
  _, low, high = rmia.floor(80)
  assert np.mean([low <= x <= high for x in aucs]) == pytest.approx(
    0.95, abs=0.015
  )


def test_what_makes_no_attack_is_refused():
  with pytest.raises(errors.DataError, match='0.01 needs 100 never seen'):
    rmia.make()(**rmia.null(0, unseen=99))
  with pytest.raises(errors.UnknownName, match='gamma'):
    rmia.make(gamma=3)
  with pytest.raises(errors.ConfigError, match='grid'):
    rmia.make(grid=())
