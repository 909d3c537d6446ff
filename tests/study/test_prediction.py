"""Predicted answers have the margins that are wanted, and factors that fit."""

import types

import numpy as np
import pytest

from unlearn_jax.attributors import _own, datamodels
from unlearn_jax.metrics import klom
from unlearn_jax.study import prediction, subsets

N, POINTS, CLASSES, MODELS = 12, 20, 3, 40
FORGET = np.array([1, 4, 9])


class _Ground:
  """Margins and splits of a `subsets.Ground`, and no fleet."""

  n, x = N, np.zeros((POINTS, 2))
  y = np.arange(POINTS) % CLASSES
  margins = subsets.Ground.margins
  splits = subsets.Ground.splits


@pytest.fixture(scope='module')
def world():
  rng = np.random.default_rng(0)
  weights = rng.normal(size=(N, POINTS, CLASSES)).astype(np.float32)
  datamodel = datamodels.Datamodel(
    weights, np.zeros((POINTS, CLASSES)), weights[0] * 0, np.full(N, 0.5), None
  )
  own = _own.Own(
    present=rng.normal(size=(N, N)),
    absent=rng.normal(size=(N, N)),
    gap=np.full(N, 6.0),
    spread=np.full(N, 3.0),
    alpha=np.full(N, 0.5),
  )
  logits = rng.normal(size=(MODELS, POINTS, CLASSES)).astype(np.float32)
  ground = _Ground()
  return types.SimpleNamespace(
    ground=ground,
    logits=logits,
    own=own,
    pooled=prediction.Predictor(ground, logits, datamodel),
    with_own=prediction.Predictor(ground, logits, datamodel, own),
    datamodel=datamodel,
  )


def test_every_split_has_its_factor(world):
  factors = prediction.Factors(forget=0.5, retain=2.0, validation=3.0)
  shift, one = (
    world.pooled.shift(FORGET, factors),
    world.datamodel.shift(FORGET),
  )
  rest = np.setdiff1d(np.arange(N), FORGET)
  np.testing.assert_allclose(shift[FORGET], 0.5 * one[FORGET], rtol=1e-5)
  np.testing.assert_allclose(shift[rest], 2 * one[rest], rtol=1e-5)
  np.testing.assert_allclose(shift[N:], 3 * one[N:], rtol=1e-5)


def test_margins_of_rows_are_those_of_their_own_datamodels(world):
  factors = prediction.Factors(forget=0.5, retain=2.0)
  shift = world.with_own.shift(FORGET, factors)
  before = world.ground.margins(world.logits)
  moved = world.ground.margins(world.logits + shift) - before
  by_row = np.full(N, 2.0)
  by_row[FORGET] = 0.5
  wanted = np.tile(by_row * world.own.shift(FORGET), (MODELS, 1))
  np.testing.assert_allclose(moved[:, :N], wanted, atol=1e-4)
  # Nobody has a datamodel of its own who is never trained on.
  pooled = world.pooled.shift(FORGET, factors)
  np.testing.assert_allclose(
    shift[:, N:], np.tile(pooled[N:], (MODELS, 1, 1)), atol=1e-5
  )


@pytest.mark.parametrize('spread', [0.0, 0.5, 1.0])
def test_models_disagree_about_what_they_forgot(world, spread):
  factors = prediction.Factors(spread=spread)
  margins = world.ground.margins(
    world.logits + world.with_own.shift(FORGET, factors)
  )
  before = world.ground.margins(world.logits)
  rest = np.setdiff1d(np.arange(N), FORGET)
  found, was = margins.std(axis=0), before.std(axis=0)
  wanted = np.maximum(3.0 * spread, was[FORGET])
  np.testing.assert_allclose(found[FORGET], wanted, rtol=1e-3)
  np.testing.assert_allclose(found[rest], was[rest], rtol=1e-3)
  middle = margins.mean(axis=0) - before.mean(axis=0)
  np.testing.assert_allclose(middle[:N], world.own.shift(FORGET), atol=1e-3)


def test_calibration_finds_the_factors_that_oracles_have(world):
  metric = klom.make(variant='v3')
  truth = prediction.Factors(0.7, 1.2, 0.9, 1.0)
  sets = []
  for forget in ([1, 4, 9], [0, 2, 3], [5, 6, 7]):
    forget = np.array(forget)
    moved = world.logits + world.with_own.shift(forget, truth)
    sets.append((forget, world.ground.margins(moved)))
  found = world.with_own.calibrate(metric, sets)
  np.testing.assert_allclose(found, truth, atol=0.11)
  assert world.pooled.calibrate(metric, []) == prediction.Factors()
