"""What a study stands on: who learns what, and what a kill leaves."""

import numpy as np
import pytest

from unlearn_jax import errors, fields
from unlearn_jax.study import subsets


def settings(**given):
  config = fields.matching_config().to_dict()
  small = {'rows': 40, 'validation_rows': 30, 'epochs': 2, 'width': 2}
  return {**config, **small, 'subset_models': 64, 'batch_size': 20, **given}


@pytest.fixture(scope='module')
def ground():
  return subsets.prepare(settings(), 0)


def test_nobody_both_learns_and_validates(ground):
  assert len(ground.train) == 40 and len(ground.rest) == 30
  assert not set(ground.train.ids) & set(ground.rest.ids)
  assert (ground.x[:40] == ground.train.all().x).all()
  other = subsets.prepare(settings(), 1)
  assert set(other.train.ids) != set(ground.train.ids)


def test_oracles_never_saw_what_is_forgotten(ground, monkeypatch):
  seen = []
  train = ground.fleet.train
  monkeypatch.setattr(
    type(ground.fleet),
    'train',
    lambda self, masks, indices: seen.append(masks) or train(masks, indices),
  )
  made = ground.models(subsets.ORACLE, 3, without=[4, 7])
  (masks,) = seen
  assert masks.shape == (3, 40) and not masks[:, [4, 7]].any()
  assert masks.sum() == 3 * 38
  assert ground.logits(made).shape == (3, 70, 10)
  assert ground.margins(ground.logits(made)).shape == (3, 70)


def test_masks_are_the_same_whoever_asks_for_more():
  many = subsets.masks(50, 40, 0.5, seed=3)
  assert (subsets.masks(20, 40, 0.5, seed=3) == many[:20]).all()
  assert 0.45 < many.mean() < 0.55
  assert (many != subsets.masks(50, 40, 0.5, seed=4)).any()
  with pytest.raises(errors.ConfigError, match='got 1'):
    subsets.masks(2, 40, 1.0, seed=0)


def test_several_alphas_take_turns():
  found = subsets.masks(400, 50, (0.2, 0.9), seed=0)
  np.testing.assert_allclose(found[::2].mean(), 0.2, atol=0.02)
  np.testing.assert_allclose(found[1::2].mean(), 0.9, atol=0.02)


class _Killed(Exception):
  pass


def test_a_killed_run_goes_on_with_the_same_models(
  ground, tmp_path, monkeypatch
):
  monkeypatch.setattr(subsets, '_SAVE_EVERY', 2)
  kept = settings(own_effects=True)
  whole = subsets.train_subsets(
    ground, kept, 0, tmp_path / 'whole', lambda n: None
  )
  told = []

  def killed(models):
    told.append(models)
    if len(told) == 5:
      raise _Killed

  with pytest.raises(_Killed):
    subsets.train_subsets(ground, kept, 0, tmp_path / 'cut', killed)
  told.clear()
  rest = subsets.train_subsets(ground, kept, 0, tmp_path / 'cut', told.append)
  assert told[0] == 4 * told[1] and sum(told) == 64  # four chunks were kept
  assert whole.rows.shape == (64, 40)
  np.testing.assert_array_equal(rest.rows, whole.rows)
  for name in ('logits', 'margins'):
    mine, theirs = getattr(rest, name).state(), getattr(whole, name).state()
    for part, array in mine.items():
      np.testing.assert_allclose(array, theirs[part], rtol=1e-12)


def test_sums_of_another_study_are_not_gone_on_with(ground, tmp_path):
  told = []
  for alpha in (0.5, 0.6):
    told.clear()
    subsets.train_subsets(
      ground, settings(alphas=(alpha,)), 0, tmp_path, told.append
    )
    assert len(told) > 1


def test_rows_that_leave_nobody_to_validate_are_refused():
  with pytest.raises(errors.ConfigError, match=r'rows is 2..1796'):
    subsets.prepare(settings(rows=1797), 0)
