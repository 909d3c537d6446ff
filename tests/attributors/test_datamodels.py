"""Datamodels against identities, scikit-learn, brute force and planted truth."""

import numpy as np
import pytest
from sklearn import linear_model

from unlearn_jax import errors, registry
from unlearn_jax.attributors import (
  _calibration,
  _estimators,
  _lasso,
  _moments,
  _words,
  datamodels,
)


def _masks(models=120, n=15, alpha=0.5, seed=0):
  return np.random.default_rng(seed).random((models, n)) < alpha


def _planted(models=120, n=15, shape=(4,), noise=0.5, alpha=0.5, seed=0):
  """Masks, outputs, and the weights that made them; the mean is large."""
  rng = np.random.default_rng(seed)
  masks = rng.random((models, n)) < alpha
  weights = rng.normal(size=(n, *shape)) * (rng.random((n, *shape)) < 0.5)
  outputs = np.tensordot(masks.astype(float), weights, 1) + 100
  return masks, outputs + noise * rng.normal(size=outputs.shape), weights


def _setting(masks, outputs):
  n, p = masks.shape[1], outputs.shape[1]
  return _words.Setting(
    apply=None,
    params=None,
    x=np.zeros((n, 2)),
    y=np.zeros(n, int),
    points=np.zeros((p, 2)),
    labels=np.zeros(p, int),
    masks=masks,
    outputs=outputs,
  )


def _close(found, expected, tolerance):
  assert found.shape == expected.shape
  np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# --- Sums ---


def _same_moments(a, b):
  assert a.count == b.count
  np.testing.assert_array_equal(a.zz, b.zz)
  _close(a.mean, b.mean, 1e-10)
  for block in a.blocks():
    scale = b.variation(block).max()
    _close(a.cross(block), b.cross(block), 1e-12 * scale)
    _close(a.variation(block), b.variation(block), 1e-12 * scale)


@pytest.mark.parametrize('chunk', [1, 7, 120, 1000])
def test_streamed_equals_stored(chunk):
  masks, outputs, _ = _planted(shape=(3, 2))
  moments = _moments.Moments.of(masks, outputs, chunk=chunk)
  z = masks - masks.mean(0)
  y = outputs.reshape(120, 6) - outputs.reshape(120, 6).mean(0)
  _close(moments.gram(), z.T @ z, 1e-10)
  _close(moments.cross(slice(0, 6)), z.T @ y, 1e-9)
  _close(moments.variation(), np.sum(y * y, axis=0), 1e-8)
  _close(moments.mean, outputs.reshape(120, 6).mean(0), 1e-10)


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_merged_in_any_order(order):
  masks, outputs, _ = _planted()
  outputs[40:] += 1000  # pilots that differ
  cuts = [slice(0, 1), slice(1, 40), slice(40, 120)]
  total = _moments.Moments(15, (4,))
  for i in order:
    total.merge(_moments.Moments.of(masks[cuts[i]], outputs[cuts[i]]))
  total.merge(_moments.Moments(15, (4,)))  # of no model yet
  _same_moments(total, _moments.Moments.of(masks, outputs))


def test_no_models_are_no_models():
  masks, outputs, _ = _planted()
  moments = _moments.Moments(15, (4,))
  moments.add(masks[:0], outputs[:0])
  moments.add(masks, outputs)
  moments.add(masks[:0], outputs[:0])
  _same_moments(moments, _moments.Moments.of(masks, outputs))


def test_a_huge_mean_costs_no_digits():
  masks, outputs, weights = _planted(noise=0.0)
  far = _moments.Moments.of(masks, outputs + 1e7, chunk=16)
  model = datamodels.fit(far, penalty=1e-8)
  _close(model.weights, weights, 1e-5)


@pytest.mark.parametrize('width', [1, 3])
def test_more_targets_than_a_block(monkeypatch, width):
  masks, outputs, _ = _planted(shape=(7,), noise=3.0)
  whole = _moments.Moments.of(masks, outputs)

  def fitted(moments):
    ridge = datamodels.fit(moments)
    lasso = datamodels.fit(
      moments, estimator='lasso', path=(1.0, 0.1), held_out=moments
    )
    return np.stack([ridge.weights, lasso.weights])

  expected = fitted(whole)
  monkeypatch.setattr(_moments.Moments.blocks, '__defaults__', (width,))
  blocked = _moments.Moments.of(masks, outputs)
  assert len(list(blocked.blocks())) == -(-7 // width)
  _same_moments(whole, blocked)
  _close(fitted(blocked), expected, 1e-5)


def test_stored_and_restored(tmp_path):
  masks, outputs, _ = _planted(shape=(3, 2))
  moments = _moments.Moments.of(masks[:50], outputs[:50])
  np.savez(tmp_path / 'moments.npz', **moments.state())
  with np.load(tmp_path / 'moments.npz') as stored:
    again = _moments.Moments.restore(stored)
  again.add(masks[50:], outputs[50:])
  assert moments.count == 50  # a copy
  _same_moments(again, _moments.Moments.of(masks, outputs))
  state = moments.state()
  with pytest.raises(errors.DataError, match='zy'):
    state.pop('zy')
    _moments.Moments.restore(state)
  with pytest.raises(errors.DataError, match='stored zz'):
    _moments.Moments.restore(moments.state() | {'zz': np.zeros((2, 2))})


def test_error_and_products_are_those_of_the_models():
  masks, outputs, weights = _planted()
  moments = _moments.Moments.of(masks, outputs)
  block = slice(1, 3)
  w, intercept = weights[:, block] + 0.1, np.array([90.0, 101.0])
  gap = outputs[:, block] - intercept - masks @ w
  _close(moments.error(w, intercept, block), np.sum(gap**2, axis=0), 1e-6)
  p = (masks - masks.mean(0)) @ w
  own, with_y = moments.products(w, block)
  _close(own, np.sum(p * p, axis=0), 1e-9)
  _close(with_y, np.sum(p * outputs[:, block], axis=0), 1e-6)


@pytest.mark.parametrize(
  'masks, outputs, said',
  [
    (np.ones((2, 4)), np.ones((2, 3)), r'\[k, 5\], got \[2, 4\]'),
    (np.ones((2, 5)), np.ones((2, 4)), r'\[2, 3\], got \[2, 4\]'),
    (np.ones((2, 5)), np.ones((3, 3)), r'\[2, 3\], got \[3, 3\]'),
    (np.full((2, 5), 0.5), np.ones((2, 3)), 'model 0 has 0.5 at 0'),
    (np.full((2, 5), np.nan), np.ones((2, 3)), 'model 0 has nan at 0'),
    (np.ones((2, 5)), np.full((2, 3), np.nan), r'has nan at target \[0\]'),
    (np.ones((2, 5)), np.full((2, 3), np.inf), r'has inf at target \[0\]'),
  ],
)
def test_a_bad_chunk_is_refused_whole(masks, outputs, said):
  moments = _moments.Moments.of(_masks(8, 5), np.ones((8, 3)))
  before = {name: np.copy(value) for name, value in moments.state().items()}
  with pytest.raises(errors.DataError, match=said):
    moments.add(masks, outputs)
  for name, value in moments.state().items():
    np.testing.assert_array_equal(value, before[name])


def test_sums_that_cannot_be_are_refused(monkeypatch):
  with pytest.raises(errors.DataError, match='0 examples'):
    _moments.Moments(0, (3,))
  with pytest.raises(errors.DataError, match=r'got \[4\] and \[4, 2\]'):
    _moments.Moments.of(np.ones(4), np.ones((4, 2)))
  with pytest.raises(errors.DataError, match='cannot merge'):
    _moments.Moments(3, (2,)).merge(_moments.Moments(3, (2, 1)))
  monkeypatch.setattr(_moments, '_MOST', 10)
  moments = _moments.Moments.of(_masks(9, 5), np.ones((9, 3)))
  for more in (moments.merge, lambda m: moments.add(_masks(9, 5), m.yy)):
    with pytest.raises(errors.DataError):
      more(moments)
  with pytest.raises(errors.DataError, match='9 [+] 9 models'):
    moments.merge(moments)


# --- Estimators ---


def test_difference_is_a_difference_of_means():
  masks, outputs, _ = _planted()
  model = datamodels.fit(
    _moments.Moments.of(masks, outputs), estimator='difference'
  )
  means = [outputs[z].mean(0) - outputs[~z].mean(0) for z in masks.T]
  _close(model.weights, np.stack(means), 1e-5)
  z, a = masks - masks.mean(0), masks.mean(0)
  identity = (z.T @ outputs) / (120 * a * (1 - a))[:, None]
  _close(model.weights, identity, 1e-5)


@pytest.mark.parametrize('models', [120, 10])  # fewer than examples, too
@pytest.mark.parametrize('penalty', [0.1, 30.0])
def test_ridge_is_that_of_scikit_learn(models, penalty):
  masks, outputs, _ = _planted(models, seed=3)
  theirs = linear_model.Ridge(alpha=penalty).fit(masks, outputs)
  moments = _moments.Moments.of(masks, outputs, chunk=9)
  model = datamodels.fit(moments, penalty=penalty)
  _close(model.weights, theirs.coef_.T, 1e-6)
  _close(model.intercept, theirs.intercept_, 1e-6)
  _close(model.predict(masks), theirs.predict(masks), 1e-4)


def _absolute(moments, path):
  return np.asarray(path) * np.trace(moments.gram()) / moments.n


def _brute_gcv(masks, outputs, penalty):
  """By the hat matrix, intercept included: [t]."""
  z = masks - masks.mean(0)
  count, n = z.shape
  hat = z @ np.linalg.solve(z.T @ z + penalty * np.eye(n), z.T) + 1 / count
  left = np.sum((outputs - hat @ outputs) ** 2, axis=0)
  return left / count / (1 - np.trace(hat) / count) ** 2


@pytest.mark.parametrize('models', [120, 20])  # where the intercept counts
@pytest.mark.parametrize('noise', [0.5, 3.0, 10.0])
def test_gcv_picks_what_brute_force_picks(models, noise):
  masks, outputs, _ = _planted(models, noise=noise)
  moments = _moments.Moments.of(masks, outputs)
  path = np.geomspace(30, 1e-3, 60)
  grid = _absolute(moments, path)
  scores = np.stack([_brute_gcv(masks, outputs, g) for g in grid])
  each = datamodels.fit(moments, path=path)
  _close(each.penalty, grid[np.argmin(scores, axis=0)], 1e-9)
  shared = np.argmin((scores / outputs.var(0)).sum(1))
  _close(
    datamodels.fit(moments, path=path, per_target=False).penalty,
    np.full(4, grid[shared]),
    1e-9,
  )
  for t, penalty in enumerate(each.penalty):  # the solve of many penalties
    theirs = linear_model.Ridge(alpha=penalty).fit(masks, outputs[:, t])
    _close(each.weights[:, t], theirs.coef_, 1e-6)


def test_gcv_agrees_with_leaving_one_out():
  """RidgeCV leaves one out; with many models the two are nearly the same."""
  masks, outputs, _ = _planted(400, noise=4.0)
  moments = _moments.Moments.of(masks, outputs)
  path = np.geomspace(1, 1e-3, 7)
  grid = _absolute(moments, path)
  theirs = linear_model.RidgeCV(alphas=grid, alpha_per_target=True)
  theirs.fit(masks, outputs)
  model = datamodels.fit(moments, path=path)
  _close(model.penalty, theirs.alpha_, 1e-9)
  assert len(set(model.penalty)) > 1


@pytest.mark.parametrize('per_target', [True, False])
def test_held_out_ridge_picks_by_held_out_error_and_fits_again(per_target):
  masks, outputs, _ = _planted(200, noise=4.0, seed=1)
  train = _moments.Moments.of(masks[:140], outputs[:140])
  rest = _moments.Moments.of(masks[140:], outputs[140:])
  path = np.geomspace(10, 1e-3, 9)
  grid, found = _absolute(train, path), []
  for penalty in grid:
    theirs = linear_model.Ridge(alpha=penalty)
    theirs.fit(masks[:140], outputs[:140])
    found.append(np.sum((theirs.predict(masks[140:]) - outputs[140:]) ** 2, 0))
  found = np.stack(found)
  if per_target:
    expected = grid[np.argmin(found, axis=0)]
  else:
    pooled = (found / outputs[:140].var(0)).sum(1)
    expected = np.full(4, grid[np.argmin(pooled)])
  model = datamodels.fit(
    train, penalty='held_out', path=path, held_out=rest, per_target=per_target
  )
  _close(model.penalty, expected, 1e-9)
  again = linear_model.Ridge(alpha=expected).fit(masks, outputs)
  _close(model.weights, again.coef_.T, 1e-6)


def _their_lasso(masks, outputs, penalty):
  """Coefficients of the masks themselves, found on scaled ones."""
  scale = masks.std(0)
  model = linear_model.Lasso(alpha=penalty, tol=1e-10, max_iter=100000)
  model.fit((masks - masks.mean(0)) / scale, outputs)
  return np.atleast_2d(model.coef_).T / scale[:, None]


@pytest.mark.parametrize('models', [120, 20])
@pytest.mark.parametrize('penalty', [0.02, 0.2, 1.0])
def test_lasso_is_that_of_scikit_learn(models, penalty):
  masks, outputs, _ = _planted(models, alpha=0.7, seed=2)
  moments = _moments.Moments.of(masks, outputs)
  model = datamodels.fit(moments, estimator='lasso', penalty=penalty)
  theirs = _their_lasso(masks, outputs, penalty)
  _close(model.weights, theirs, 1e-4)
  assert (model.weights == 0).any() or penalty < 0.1
  middle = outputs.mean(0) - masks.mean(0) @ theirs
  _close(model.intercept, middle, 1e-3)


def test_lasso_of_orthogonal_masks_is_a_soft_threshold():
  signs = np.array([[1]])
  for _ in range(4):
    signs = np.block([[signs, signs], [signs, -signs]])  # Hadamard
  masks = signs[:, 1:] > 0
  outputs = np.random.default_rng(0).normal(size=(16, 5))
  moments = _moments.Moments.of(masks, outputs)
  plain = datamodels.fit(moments, estimator='difference').weights
  model = datamodels.fit(moments, estimator='lasso', penalty=0.1)
  # Scaled columns have weights sqrt(a (1 - a)) = 1/2 as large.
  soft = np.sign(plain) * np.maximum(np.abs(plain) - 0.1 / 0.5, 0)
  _close(model.weights, soft, 1e-5)
  assert (model.weights == 0).any() and (model.weights != 0).any()


def test_lasso_chooses_a_penalty_a_target_on_held_out_models():
  masks, outputs, _ = _planted(200, noise=4.0, seed=4)
  outputs[:, 1] = np.random.default_rng(5).normal(size=200)  # no signal at all
  train = _moments.Moments.of(masks[:140], outputs[:140])
  rest = _moments.Moments.of(masks[140:], outputs[140:])
  path = (1.0, 0.3, 0.1, 0.01)
  model = datamodels.fit(train, estimator='lasso', path=path, held_out=rest)
  z = (masks[:140] - masks[:140].mean(0)) / masks[:140].std(0)
  y = outputs[:140] - outputs[:140].mean(0)
  top = np.abs(z.T @ y).max(0) / 140
  for t in range(4):
    found = []
    for fraction in path:
      w = _their_lasso(masks[:140], outputs[:140, t], fraction * top[t])
      left = outputs[:, t] - (masks - masks[:140].mean(0)) @ w[:, 0]
      found.append(np.sum((left[140:] - outputs[:140, t].mean()) ** 2))
    best = path[int(np.argmin(found))] * top[t]
    assert model.penalty[t] == pytest.approx(best, rel=1e-9)
    again = _their_lasso(masks, outputs[:, t], best)[:, 0]
    _close(model.weights[:, t], again, 1e-4)
  assert (
    len({round(p / b, 6) for p, b in zip(model.penalty, top, strict=True)}) > 1
  )


def test_a_lasso_path_ends_when_no_target_gets_better(monkeypatch):
  masks, outputs, _ = _planted(60, noise=6.0)
  train = _moments.Moments.of(masks[:40], outputs[:40])
  rest = _moments.Moments.of(masks[40:], outputs[40:])
  penalties, solve = [], _lasso.Problem.solve

  def counted(self, cross, penalty, start=None):
    penalties.append(penalty)
    return solve(self, cross, penalty, start)

  monkeypatch.setattr(_lasso.Problem, 'solve', counted)
  short = datamodels.fit(train, estimator='lasso', held_out=rest)
  used = len(penalties)
  monkeypatch.setattr(_estimators, '_PATIENCE', 1000)
  whole = datamodels.fit(train, estimator='lasso', held_out=rest)
  _close(short.penalty, whole.penalty, 0)
  assert used < len(penalties) - used


def test_a_lasso_that_does_not_converge_says_so(monkeypatch, caplog):
  masks, outputs, _ = _planted()
  moments = _moments.Moments.of(masks, outputs)
  datamodels.fit(moments, estimator='lasso', penalty=0.01)
  assert 'lasso stopped' not in caplog.text
  monkeypatch.setattr(_lasso, '_TOLERANCE', 0.0)
  _lasso._descend.clear_cache()
  try:
    datamodels.fit(moments, estimator='lasso', penalty=0.01)
  finally:
    _lasso._descend.clear_cache()
  assert 'lasso stopped' in caplog.text


# --- What they predict ---


@pytest.mark.parametrize('estimator', datamodels.ESTIMATORS)
def test_a_planted_model_is_recovered_and_removal_predicted(estimator):
  masks, outputs, weights = _planted(4000, 12, (5, 3), noise=0.2, seed=6)
  make = registry.make('attributors', 'datamodels', estimator=estimator)
  found = make(_setting(masks, outputs))
  assert found.of == 'logits' and found.scores.shape == (12, 5, 3)
  tolerance = 0.3 if estimator == 'difference' else 0.03
  _close(found.scores, weights, tolerance)
  forget = np.array([7, 2, 3])
  _close(found.shift(forget), -weights[forget].sum(0), 2 * tolerance)
  _close(found.shift(forget), -found.scores[forget].sum(0), 1e-6)
  _close(found.shift([]), np.zeros((5, 3)), 0)


def test_margins_are_told_from_logits():
  masks, outputs, weights = _planted(2000, 12, (5,), noise=0.1)
  found = datamodels.make()(_setting(masks, outputs))
  assert found.of == 'margin' and found.scores.shape == (12, 5)
  _close(found.scores, weights, 0.03)


def test_predicts_models_it_never_saw():
  masks, outputs, weights = _planted(1000, noise=0.5)
  model = datamodels.fit(_moments.Moments.of(masks[:900], outputs[:900]))
  truth = masks[900:] @ weights + 100
  _close(model.predict(masks[900:]), truth, 0.3)
  everyone, some = np.ones((1, 15)), np.ones((1, 15))
  some[0, [3, 4]] = 0
  moved = (model.predict(some) - model.predict(everyone))[0]
  _close(moved, model.shift(np.array([3, 4])), 1e-4)


def test_targets_that_never_move_get_no_weight():
  masks, outputs, _ = _planted(200)
  outputs[:, 2] = 0.1  # whose mean rounds
  setting = _setting(masks, outputs)
  for estimator in datamodels.ESTIMATORS:
    scores = datamodels.make(estimator=estimator)(setting).scores
    _close(scores[:, 2], np.zeros(15), 1e-7)
    assert np.abs(scores[:, 0]).max() > 0.1
  for constant in (7.0, 0.1):  # the weights are 0, or what rounding leaves
    still = _setting(masks, np.full_like(outputs, constant))
    _close(datamodels.make()(still).scores, np.zeros((15, 4)), 1e-7)


# --- Calibration ---


def test_slope_is_recovered():
  rng = np.random.default_rng(0)
  predicted = rng.normal(size=(6, 50, 3))
  actual = 1.6 * predicted + 0.1 * rng.normal(size=predicted.shape)
  found = _calibration.calibrate(predicted, actual)
  assert found.slope == pytest.approx(1.6, abs=0.02)
  assert found.multiplier == found.slope and found.correlation > 0.99
  assert _calibration.calibrate(predicted, 2 * predicted).slope == 2.0


def test_shrunk_slopes_lie_between_their_own_and_the_common_one():
  rng = np.random.default_rng(0)
  predicted = rng.normal(size=(8, 40))
  own = np.linspace(0.5, 2.5, 40)
  actual = own[None] * predicted
  squares = np.sum(predicted**2, axis=0)
  for shrink, toward in ((1e-9, None), (1.0, None), (1e9, None), (0.5, 1.0)):
    found = _calibration.calibrate(
      predicted, actual, shrink=shrink, toward=toward
    )
    pull, aim = shrink * squares.mean(), toward or found.slope
    expected = (own * squares + pull * aim) / (squares + pull)
    _close(found.multiplier, expected, 1e-12)
  _close(
    _calibration.calibrate(predicted, actual, shrink=1e9).multiplier,
    np.full(40, found.slope),
    1e-6,
  )


def test_slope_on_held_out_models_needs_only_their_sums():
  masks, outputs, weights = _planted(500, shape=(4, 2), noise=1.0)
  held = _moments.Moments.of(masks, outputs)
  w = weights * 0.5 + 0.1
  p = np.tensordot(masks - masks.mean(0), w, 1)
  expected = _calibration.calibrate(p, outputs - outputs.mean(0), shrink=0.1)
  found = _calibration.on_held_out(w, held, shrink=0.1)
  assert found.slope == pytest.approx(expected.slope, rel=1e-9)
  assert found.correlation == pytest.approx(expected.correlation, rel=1e-9)
  _close(found.multiplier, expected.multiplier, 1e-9)


def test_few_models_make_differences_too_large_and_the_slope_says_so():
  """Noise in the weights is part of the prediction, not of what happens."""
  masks, outputs, weights = _planted(120, noise=4.0, shape=(200,), seed=7)
  setting = _setting(masks, outputs)
  raw = datamodels.make(estimator='difference', calibration=1.0)(setting)
  fitted = datamodels.make(
    estimator='difference', calibration='held_out', held_out=0.25
  )(setting)
  ratio = fitted.scores[0, 0] / raw.scores[0, 0]
  best = np.sum(raw.scores * weights) / np.sum(raw.scores**2)
  assert ratio == pytest.approx(best, abs=0.1) and ratio < 0.7
  _close(fitted.shift([1, 2]), ratio * raw.shift([1, 2]), 1e-4)


def test_a_calibrated_attribution_is_multiplied_everywhere():
  masks, outputs, _ = _planted()
  plain = datamodels.make()(_setting(masks, outputs))
  rng = np.random.default_rng(0)
  predicted = rng.normal(size=(6, 4))
  for shrink in (None, 0.1):
    found = _calibration.calibrate(predicted, 3 * predicted, shrink=shrink)
    scaled = _calibration.apply(plain, found)
    assert scaled.of == plain.of
    _close(scaled.scores, 3 * plain.scores, 1e-5)
    _close(scaled.shift([0, 5]), 3 * plain.shift([0, 5]), 1e-5)


def test_a_scaled_datamodel_keeps_its_mean_prediction():
  masks, outputs, _ = _planted()
  model = datamodels.fit(_moments.Moments.of(masks, outputs))
  twice = model.scaled(np.array([2.0, 1.0, 0.5, 2.0]))
  _close(twice.predict(masks).mean(0), model.predict(masks).mean(0), 1e-4)
  _close(twice.shift([1])[:2], model.shift([1])[:2] * [2, 1], 1e-6)


@pytest.mark.parametrize(
  'predicted, actual, settings, error, said',
  [
    (np.ones((2, 3)), np.ones((2, 4)), {}, errors.DataError, r'\[2, 4\]'),
    (np.ones((0, 3)), np.ones((0, 3)), {}, errors.DataError, r'\[0, 3\]'),
    (np.zeros((2, 3)), np.ones((2, 3)), {}, errors.DataError, '0 everywhere'),
    ([[np.nan]], [[1.0]], {}, errors.DataError, r'nan at \(0, 0\)'),
    ([[1.0]], [[np.inf]], {}, errors.DataError, 'actual shifts are finite'),
    ([[1.0]], [[1.0]], {'shrink': -1}, errors.ConfigError, '-1'),
    ([[1.0]], [[1.0]], {'toward': 1}, errors.ConfigError, 'needs shrink'),
  ],
)
def test_slopes_that_cannot_be_fitted(predicted, actual, settings, error, said):
  with pytest.raises(error, match=said):
    _calibration.calibrate(predicted, actual, **settings)


# --- Hostile input ---


@pytest.mark.parametrize('estimator', datamodels.ESTIMATORS)
@pytest.mark.parametrize('always', [True, False])
def test_an_example_that_never_varies_is_refused(estimator, always):
  masks, outputs, _ = _planted()
  masks[:, [3, 9]] = always
  moments = _moments.Moments.of(masks, outputs)
  with pytest.raises(errors.DataError, match=r'2 example.*\[3, 9\]'):
    datamodels.fit(moments, estimator=estimator, held_out=moments)


@pytest.mark.parametrize(
  'settings, error, said',
  [
    ({'estimator': 'rigde'}, errors.UnknownName, 'ridge'),
    ({'penalty': 'gvc'}, errors.UnknownName, 'gcv'),
    ({'penalty': 0.0}, errors.ConfigError, 'got 0.0'),
    ({'penalty': np.nan}, errors.ConfigError, 'got nan'),
    ({'penalty': True}, errors.ConfigError, 'got True'),
    ({'estimator': 'lasso', 'penalty': 'gcv'}, errors.UnknownName, 'held_out'),
    ({'estimator': 'difference', 'penalty': 1}, errors.ConfigError, 'got 1'),
    ({'path': (1.0, -1.0)}, errors.ConfigError, '-1.0'),
    ({'path': ()}, errors.ConfigError, 'path'),
    ({'held_out': 1.0}, errors.ConfigError, '1.0'),
    ({'held_out': 0.0}, errors.ConfigError, 'got 0.0'),
    ({'calibration': 0}, errors.ConfigError, 'got 0'),
    ({'calibration': 'held'}, errors.ConfigError, "'held'"),
    ({'held_outs': 1}, errors.UnknownArgument, 'held_out'),
  ],
)
def test_settings_are_checked_when_made(settings, error, said):
  with pytest.raises(error, match=said):
    registry.make('attributors', 'datamodels', **settings)


def test_settings_and_moments_that_do_not_fit_are_refused():
  masks, outputs, _ = _planted()
  attribute = datamodels.make()
  setting = _setting(masks, outputs)
  for bad, said in (
    (setting._replace(masks=None), 'needs masks'),
    (setting._replace(outputs=None), 'needs masks'),
    (setting._replace(masks=masks[:, :-1]), r'\[m, 15\].*\[120, 14\]'),
    (setting._replace(masks=masks[:9]), r'\[9, 15\] and \[120, 4\]'),
    (setting._replace(outputs=outputs[:, 0]), r'\[120\]'),
    (setting._replace(masks=masks[:5], outputs=outputs[:5]), '5 models'),
    (setting._replace(outputs=np.where(masks[:, :4], np.nan, 0)), 'nan'),
  ):
    with pytest.raises(errors.DataError, match=said):
      attribute(bad)
  one = _moments.Moments.of(masks[:1], outputs[:1])
  with pytest.raises(errors.DataError, match='1 models are too few'):
    datamodels.fit(one)
  moments = _moments.Moments.of(masks, outputs)
  with pytest.raises(errors.DataError, match='got 1 and'):
    datamodels.fit(moments, held_out=one)
  other = _moments.Moments.of(masks, outputs[:, :2])
  with pytest.raises(errors.DataError, match=r'\[15, 4\].*\(?\[?15, 2'):
    datamodels.fit(moments, held_out=other)
  with pytest.raises(errors.ConfigError, match='needs held_out'):
    datamodels.fit(moments, estimator='lasso')


@pytest.mark.parametrize(
  'forget', [[15], [-1], [True] * 15, [0.5], [[1]], [2, 2]]
)
def test_positions_are_checked(forget):
  masks, outputs, _ = _planted()
  model = datamodels.fit(_moments.Moments.of(masks, outputs))
  with pytest.raises(errors.UnknownPosition):
    model.shift(np.array(forget))


@pytest.mark.parametrize('masks', [np.ones((2, 14)), np.full((2, 15), 0.5)])
def test_masks_to_predict_are_checked(masks):
  model = datamodels.fit(_moments.Moments.of(*_planted()[:2]))
  with pytest.raises(errors.DataError, match='14|0.5'):
    model.predict(masks)
