"""U-LiRA against a plain loop, known attackers, and masks mixed up."""

import numpy as np
import pytest
import scipy.stats

from unlearn_jax import errors
from unlearn_jax.metrics import ulira


def _paired(seed=0, pairs=12, points=8):
  """Masks and their complements, all forgotten: no count is ever unequal.

  So nothing is left to chance, and a plain loop must give the same.
  """
  rng = np.random.default_rng(seed)
  half = rng.permuted(np.tile([True, False], (pairs, points // 2)), axis=1)
  trained = np.stack([half, ~half], axis=1).reshape(2 * pairs, points)
  ids = np.array([f'model-{i}' for i in rng.permutation(2 * pairs)])
  order = rng.permutation(2 * pairs)
  return {
    'originals': ulira.Originals(
      ids, trained, rng.normal(size=trained.shape) + 2 * trained
    ),
    'unlearnings': ulira.Unlearnings(
      ids[order],
      trained[order],
      rng.normal(0.5, 1.5, trained.shape),
    ),
    'targets': ids[:6],
  }


def _plain(originals, unlearnings, targets):
  """Chances that forgotten, and never seen, points were forgotten."""
  row = {name: i for i, name in enumerate(originals.ids)}
  yes, no = [], []
  for u, name in enumerate(unlearnings.original):
    if name not in targets:
      continue
    for x in range(originals.margins.shape[1]):
      after = [
        unlearnings.margins[s, x]
        for s, other in enumerate(unlearnings.original)
        if other not in targets and unlearnings.forgotten[s, x]
      ]
      never = [
        originals.margins[o, x]
        for o, other in enumerate(originals.ids)
        if other not in targets and not originals.trained[o, x]
      ]
      assert len(after) == len(never)
      p_a, p_b = (
        scipy.stats.norm.pdf(
          unlearnings.margins[u, x], np.mean(shadows), np.std(shadows, ddof=1)
        )
        for shadows in (after, never)
      )
      if unlearnings.forgotten[u, x]:
        yes.append(p_a / (p_a + p_b))
      elif not originals.trained[row[name], x]:
        no.append(p_a / (p_a + p_b))
  return np.array(yes), np.array(no)


@pytest.mark.parametrize('seed', range(5))
def test_as_a_plain_loop(seed):
  inputs = _paired(seed)
  yes, no = _plain(**inputs)
  found = ulira.make(fprs=(0.25, 0.05))(**inputs)
  right = np.sum(yes > 0.5) + np.sum(no <= 0.5)
  assert found.trials == len(yes) + len(no) == 48
  assert found.accuracy.value == pytest.approx(right / 48, abs=1e-12)
  above = (yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2
  assert found.auc == pytest.approx(above, abs=1e-12)
  for fpr, tpr in found.tpr.items():
    best = max(
      np.mean(yes > cut) for cut in np.r_[no, 2] if np.mean(no > cut) <= fpr
    )
    assert tpr == pytest.approx(best, abs=1e-12)
  assert found.shadows == (9, 9) and found.attacked == 6


def _population(gap, *, models=120, points=80, seed=3):
  """Forgotten margins stay `gap` deviations above those never seen."""
  inputs = ulira.null(seed, models=models, points=points)
  after = inputs['unlearnings']
  moved = after._replace(margins=after.margins + gap * after.forgotten)
  return inputs | {'unlearnings': moved}


@pytest.mark.parametrize('gap', [0.0, 0.5, 1.0, 2.0])
def test_the_accuracy_is_what_the_gap_allows(gap):
  """Two unit Gaussians apart by d are told apart Phi(d / 2) of the time."""
  found = ulira.make()(**_population(gap))
  assert found.accuracy.value == pytest.approx(
    scipy.stats.norm.cdf(gap / 2), abs=0.03
  )
  assert found.auc == pytest.approx(
    scipy.stats.norm.cdf(gap / np.sqrt(2)), abs=0.03
  )
  for fpr, tpr in found.tpr.items():
    best = scipy.stats.norm.sf(scipy.stats.norm.isf(fpr) - gap)
    assert tpr == pytest.approx(best, abs=0.06)
  assert found.at_floor == (gap == 0)
  assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_no_unlearning_is_found_out():
  found = ulira.make()(**_population(20))
  assert found.accuracy.value == found.auc == 1
  assert set(found.tpr.values()) == {1.0}


def test_masks_are_those_of_the_originals_by_id():
  """A row of a mask is found by id: the order of originals says nothing."""
  inputs = _population(1.0)
  found = ulira.make()(**inputs)
  originals, after = inputs['originals'], inputs['unlearnings']
  # The first unlearnings are of the first originals, two each: their row
  # numbers, used as rows of the masks, are those of other models.
  assert (after.original[:4] == [0, 0, 1, 1]).all()
  by_row = after._replace(original=np.arange(len(after.original)) % 120)
  with pytest.raises(errors.DataError, match='never saw.*by their ids'):
    ulira.make()(**(inputs | {'unlearnings': by_row}))
  masks_of_unlearnings = originals._replace(
    trained=originals.trained[after.original]
  )
  with pytest.raises(errors.DataError, match=r'trained must be bool \(120'):
    ulira.make()(**(inputs | {'originals': masks_of_unlearnings}))
  swapped = originals._replace(trained=originals.trained[::-1])
  with pytest.raises(errors.DataError, match='never saw'):
    ulira.make()(**(inputs | {'originals': swapped}))
  renamed = {
    'originals': originals._replace(ids=[f'm{i}' for i in originals.ids]),
    'unlearnings': after._replace(original=[f'm{i}' for i in after.original]),
    'targets': [f'm{i}' for i in inputs['targets']],
  }
  assert ulira.make()(**renamed) == found


def test_an_attacked_model_is_never_a_shadow():
  """What the targets' originals say, at any point, changes no answer."""
  inputs = _population(1.0)
  found = ulira.make()(**inputs)
  margins = np.array(inputs['originals'].margins)
  margins[inputs['targets']] = 1e6
  moved = inputs['originals']._replace(margins=margins)
  assert ulira.make()(**(inputs | {'originals': moved})) == found


def test_only_forgotten_and_never_seen_points_are_asked():
  """Points kept in training change nothing, in targets and in shadows."""
  inputs = _population(1.0)
  found = ulira.make()(**inputs)
  originals, after = inputs['originals'], inputs['unlearnings']
  kept = originals.trained[after.original] & ~after.forgotten
  moved = after._replace(margins=np.where(kept, 50, after.margins))
  trained = originals._replace(
    margins=np.where(originals.trained, -50, originals.margins)
  )
  assert (
    ulira.make()(**(inputs | {'unlearnings': moved, 'originals': trained}))
    == found
  )


def test_half_of_the_answers_are_about_forgotten_points():
  inputs = _population(0.0)
  after = inputs['unlearnings']
  mine = np.isin(after.original, inputs['targets'])
  forgotten = after.forgotten[mine].sum(axis=1)
  never = (~inputs['originals'].trained)[after.original[mine]].sum(axis=1)
  assert (forgotten < never).all()
  assert ulira.make()(**inputs).trials == 2 * forgotten.sum()


def test_fits_have_equal_counts_up_to_the_limit():
  found = ulira.make(limit=7)(**_population(0.0))
  assert found.shadows == (7, 7)
  found = ulira.make()(**_population(0.0))
  inputs = _population(0.0)
  shadow = ~np.isin(inputs['unlearnings'].original, inputs['targets'])
  most = inputs['unlearnings'].forgotten[shadow].sum(axis=0).max()
  assert 2 <= found.shadows[0] < found.shadows[1] <= most


def test_equal_margins_make_a_narrow_fit_and_no_nan():
  inputs = _paired()
  flat = inputs['originals']._replace(margins=np.zeros((24, 8)))
  found = ulira.make(fprs=())(**(inputs | {'originals': flat}))
  assert np.isfinite(found.auc) and found.accuracy.value == 0.5
  # Where both fits agree the answer is "never seen", right half of the time.
  after = inputs['unlearnings']._replace(margins=np.zeros((24, 8)))
  found = ulira.make(fprs=())(
    **(inputs | {'originals': flat, 'unlearnings': after})
  )
  assert found.auc == found.accuracy.value == 0.5


@pytest.mark.parametrize('trials', [10, 100, 4000])
def test_the_floor_holds_nearly_all_coin_tossers(trials):
  low, high = ulira.floor(trials)[1:]
  tossed = np.random.default_rng(0).binomial(trials, 0.5, 20_000) / trials
  assert 0.945 <= np.mean((low <= tossed) & (tossed <= high)) <= 0.99


def test_right_or_wrong_is_no_margin():
  inputs = _paired()
  for name in ('originals', 'unlearnings'):
    binary = inputs[name]._replace(margins=1.0 * (inputs[name].margins > 0))
    with pytest.raises(errors.DataError, match=f'{name} are only 0 and 1'):
      ulira.make(fprs=())(**(inputs | {name: binary}))


def test_what_makes_no_attack_is_refused():
  inputs = _population(0.0, models=30)
  attack = ulira.make(fprs=())
  with pytest.raises(errors.UnknownId, match="first 'x'"):
    attack(**(inputs | {'targets': ['x', 1]}))
  with pytest.raises(errors.DataError, match='targets must be at least 2'):
    attack(**(inputs | {'targets': [1, 1]}))
  with pytest.raises(errors.DataError, match='60 of 60'):
    attack(**(inputs | {'targets': np.arange(30)}))
  with pytest.raises(errors.DataError, match='fewer than 2 shadows'):
    attack(**(inputs | {'targets': np.arange(27)}))
  with pytest.raises(errors.DataError, match='0.001 needs 1000'):
    ulira.make(fprs=(0.001,))(**inputs)
  twice = inputs['originals']._replace(ids=np.zeros(30, int))
  with pytest.raises(errors.DataError, match='each once'):
    attack(**(inputs | {'originals': twice}))
  short = inputs['unlearnings']._replace(original=[0])
  with pytest.raises(errors.DataError, match='name 1 originals'):
    attack(**(inputs | {'unlearnings': short}))
  nothing = inputs['unlearnings']
  nothing = nothing._replace(forgotten=nothing.forgotten & False)
  with pytest.raises(errors.DataError, match='no attacked model'):
    attack(**(inputs | {'unlearnings': nothing}))
  with pytest.raises(errors.ConfigError, match='fpr'):
    ulira.make(fprs=(1.5,))
