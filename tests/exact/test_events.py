"""Histories of tiny systems, counted by hand."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.exact import demand, events, sequences
from unlearn_jax.exact import profile as profile_lib

AT_ONCE = events.Policy('at once')


def profile(shards=1, slices=2, **changes):
  """A step a row; depth k takes k seconds a step; 5 s before a repair.

  A hundredth for each slice that serves, and .5.
  """
  mixtures = profile_lib.mixtures(shards, slices)
  return profile_lib.Profile(
    **{
      'name': 'by hand',
      'shards': shards,
      'slices': slices,
      'batch_size': 1,
      'epochs': 1,
      'examples': 10 * shards * slices,
      'step_seconds': [k + 1.0 for k in range(slices)],
      'repair_seconds': 5.0,
      'shard_seconds': 0.5,
      'stage_bytes': [100.0] * slices,
      'accuracy': {profile_lib.key(m): 0.5 + 0.01 * sum(m) for m in mixtures},
      **changes,
    }
  )


def asked(hits, shards=1, slices=2, end=1000.0):
  """`hits` are (time, shard, slice); ten rows a slice, one leaves each time."""
  times, shard, part = map(np.array, zip(*hits, strict=True))
  return demand.Asked(
    times=times.astype(float),
    shard=shard,
    part=part,
    rows=np.ones(len(hits), int),
    counts=np.full((shards, slices), 10),
    end=end,
  )


def follow(hits, policy=AT_ONCE, shards=1, slices=2, orders=None, **changes):
  orders = orders or [tuple(range(slices))]
  return events.follow(
    profile(shards, slices, **changes),
    orders,
    policy,
    asked(hits, shards, slices),
  )


def changes(past):
  return list(zip(past.times, past.depths, strict=True))


def test_the_last_slice_costs_one_stage():
  past = follow([(100, 0, 1)])
  # 5 s, then 10 + 9 rows at 2 s a step.
  assert changes(past) == [(0, (2,)), (100, (1,)), (143, (2,))]
  assert past.waits.tolist() == [43]
  assert past.repairs == [events.Repair(100, 143, 1, 19)]
  assert (past.samples, past.wasted, past.seconds) == (19, 0, 43)
  assert (past.answered, past.failed) == (1, None)


def test_the_first_slice_costs_them_all_and_nothing_serves_meanwhile():
  past = follow([(100, 0, 0)])
  assert changes(past) == [(0, (2,)), (100, (0,)), (152, (2,))]
  assert past.repairs == [events.Repair(100, 152, 2, 9 + 19)]
  assert (past.answered, past.failed) == (1, 1)
  up = past.mean(lambda depths: float(any(depths)), 1000.0)
  assert up == pytest.approx(1 - 0.052)
  worth = past.mean(profile().worth, 1000.0)
  assert worth == pytest.approx(0.52)  # while it serves


def test_another_order_serves_what_one_has_lost():
  past = follow([(100, 0, 0)], orders=[(0, 1), (1, 0)])
  # (0), (0, 1) and (1, 0) are gone; (1) serves until they are there.
  end = 100 + 5 + 9 + 2 * 19 + 2 * 19
  assert changes(past) == [(0, (2,)), (100, (1,)), (end, (2,))]
  assert past.repairs == [events.Repair(100, end, 3, 9 + 19 + 19)]


def test_a_request_makes_what_has_been_sent_old():
  past = follow([(100, 0, 0), (110, 0, 1)])
  # (0) is trained until 114 and stays; (0, 1) until 152, and is hit at 110;
  # once more with 18 rows.
  assert changes(past) == [
    (0, (2,)),
    (100, (0,)),
    (110, (0,)),
    (152, (1,)),
    (193, (2,)),
  ]
  assert past.waits.tolist() == [93, 83]
  assert (past.answered, past.failed) == (1, 1)  # nothing did before 110
  assert (past.samples, past.wasted) == (9 + 19 + 18, 19)
  assert past.seconds == 5 + 9 + 38 + 5 + 36


def test_of_a_long_plan_two_stages_beside_the_running_one_are_lost():
  past = follow([(0, 0, 0), (6, 0, 3)], slices=4)
  # Stage 1 runs from 5 to 14 and stays; 2 and 3 were sent and are lost; 4 was
  # not. Then 2, 3 and 4 from the new rows.
  lost = 2 * 19 + 3 * 29
  again = 5 + 2 * 19 + 3 * 29 + 4 * 38
  assert past.repairs == [
    events.Repair(0, 14 + lost + again, 6, 9 + 2 * 19 + 2 * 29 + 38)
  ]
  assert past.wasted == 19 + 29
  assert past.seconds == 14 + lost + again


def test_a_request_before_the_first_step_costs_only_the_wait():
  past = follow([(0, 0, 1), (3, 0, 1)])
  assert past.repairs == [events.Repair(0, 5 + 5 + 36, 1, 18)]
  assert past.wasted == 0


def test_shards_are_repaired_shortest_stages_first():
  past = follow([(0, 0, 0), (0, 1, 1)], shards=2)
  end = 5 + 0.5 + 9 + 2 * 19 + 2 * 19
  assert past.repairs == [events.Repair(0, end, 3, 9 + 19 + 19)]
  assert past.depths[1:] == [(0, 2), (0, 1), (2, 2)]


def test_windows_collect_requests():
  policy = events.Policy('window', 60.0)
  past = follow([(100, 0, 1), (110, 0, 1), (120, 0, 1)], policy)
  # At 120 the third has come; 5 s, 17 rows at 2 s.
  assert past.repairs == [events.Repair(120, 120 + 5 + 34, 1, 17)]
  assert past.waits.tolist() == [59, 49, 39]


def test_when_dead_everything_is_made_again_and_never_is_never():
  hits = [(10, 0, 1), (20, 0, 0)]
  past = follow(hits, events.Policy('when dead'))
  assert past.repairs == [events.Repair(20, 20 + 5 + 9 + 2 * 18, 2, 9 + 18)]
  assert (past.answered, past.failed) == (2, 2)
  past = follow(hits, events.Policy('never'))
  assert (past.answered, past.failed) == (1, 2)
  assert past.repairs == [] and np.isinf(past.waits).all()
  assert past.depths[-1] == (0,)


def test_means_over_parts_of_the_time():
  past = follow([(100, 0, 0)])
  edges = np.array([0.0, 100.0, 152.0, 204.0])
  found = past.means(lambda depths: sum(depths) / 2, edges)
  np.testing.assert_allclose(found, [1, 0, 1])
  worth = past.means(profile().worth, edges)
  np.testing.assert_allclose(worth, [0.52, np.nan, 0.52])


def test_worth_is_of_the_depths_whichever_shard_has_them():
  of = profile(shards=3)
  assert len(of.accuracy) == 9 and '2 1 0' in of.accuracy
  assert of.worth((0, 2, 1)) == of.worth((1, 0, 2)) == of.accuracy['2 1 0']
  assert of.worth((0, 0, 0)) is None


def test_a_step_is_a_batch_padded_or_not():
  of = profile(batch_size=4, epochs=3)
  assert of.steps(0) == 0 and of.steps(8) == 6 and of.steps(9) == 9
  assert of.seconds(2, 9) == 18.0


@pytest.mark.parametrize(
  'policy, words',
  [
    (('weekly',), "repair policy 'weekly'.*at once"),
    (('window',), 'window of seconds.*0.0'),
    (('window', float('nan')), 'window of seconds.*nan'),
    (('at once', 60.0), "60.0 for 'at once'"),
  ],
)
def test_a_wrong_policy_is_refused(policy, words):
  with pytest.raises(errors.UnlearnError, match=words):
    follow([(0, 0, 0)], events.Policy(*policy))


@pytest.mark.parametrize(
  'change, words',
  [
    ({'epochs': 0}, 'epochs is a whole number >= 1, got 0'),
    ({'step_seconds': [1.0]}, r'step_seconds is 2 numbers.*\[1.0\]'),
    ({'step_seconds': [1.0, float('nan')]}, r'step_seconds is above.*\[nan\]'),
    ({'stage_bytes': [1.0, 0.0]}, r'stage_bytes is above 0.*\[0.0\]'),
    ({'repair_seconds': -1.0}, 'repair_seconds is >= 0, got -1.0'),
    ({'accuracy': {'1': 0.5, '2': 1.5}}, r'accuracy is .* up to 1.0, .*1.5'),
    ({'accuracy': {'1': 0.5, '3': 0.5}}, r"2 of them; .*\['2', '3'\]"),
  ],
)
def test_a_wrong_profile_is_refused(change, words):
  with pytest.raises(errors.ConfigError, match=words):
    profile(**change)
  with pytest.raises(errors.UnknownArgument, match='colour'):
    profile_lib.Profile.from_json({'colour': 'red'})


def test_histories_agree_with_sets_of_hit_slices():
  """Without repair what serves is the longest prefix that nobody hit."""
  orders = sequences.make('cyclic', slices=4, budget=3)
  rng = np.random.default_rng(0)
  hits = [(t, *rng.integers(0, (3, 4))) for t in range(1, 30)]
  past = follow(hits, events.Policy('never'), 3, 4, orders)
  for number in range(1, 30):
    gone = [{p for _, s, p in hits[:number] if s == i} for i in range(3)]
    assert past.depths[number] == tuple(
      max(sequences.live_length(order, g) for order in orders) for g in gone
    )
