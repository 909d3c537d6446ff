"""Formulas against simulation, and proposals against brute force."""

import itertools
import math

import numpy as np
import pytest

from tests.exact.test_events import profile
from unlearn_jax import errors
from unlearn_jax.exact import demand as demand_lib
from unlearn_jax.exact import events, planner, sequences, theory

AT_ONCE, NEVER = events.Policy('at once'), events.Policy('never')


def _demand(rate=1.0, examples=1200, **more):
  return demand_lib.Demand(examples=examples, rate=rate, **more)


def _streams(demand, requests=40, count=60, seed=0):
  return planner.streams(demand, requests=requests, count=count, seed=seed)


def _near(found, expected, count):
  assert abs(found['mean'] - expected) < 4 * found['sd'] / math.sqrt(count)


@pytest.mark.parametrize('budget', [1, 2, 3])
@pytest.mark.parametrize('hours', [0, 60])
def test_samples_a_request_are_those_of_the_formula(budget, hours):
  """Requests a day apart, so that no repair of seconds meets the next one."""
  policy = events.Policy('window', 3600.0 * hours) if hours else AT_ONCE
  small = profile(2, 3, step_seconds=[1e-5] * 3)
  row = planner.evaluate(
    planner.Choice(small, budget, policy), _demand(), _streams(_demand())
  )
  expected = row['formula']['samples_a_request']
  _near(row['samples_a_request'], expected, 60)
  assert row['samples_a_request']['mean'] == pytest.approx(expected, rel=0.04)
  assert row['wasted_a_request']['mean'] == 0


def test_owners_take_more_rows_with_them():
  groups = [
    demand_lib.Group(units=0.8, requests=0.5),
    demand_lib.Group(units=0.2, requests=0.5, rows=6),
  ]
  demand = _demand(groups=groups)
  assert demand.sizes() == [480, 120]
  (stream, *_) = drawn = _streams(demand)
  asked = stream.on(2, 3)
  assert asked.counts.sum() == 1200 and set(asked.rows) == {1, 6}
  small = profile(2, 3, step_seconds=[1e-5] * 3)
  row = planner.evaluate(planner.Choice(small, 2, AT_ONCE), demand, drawn)
  expected = row['formula']['samples_a_request']
  _near(row['samples_a_request'], expected, 60)


def test_rows_of_a_repair_by_counting_every_placement():
  """Four records, one or two of which leave, wherever a hash puts them."""
  orders = [(0, 1), (1, 0)]
  cells = list(itertools.product(range(2), range(2)))
  for requests in (1, 2):
    total = 0
    for placed in itertools.product(cells, repeat=4):
      hit, left = set(placed[:requests]), placed[requests:]
      for shard in range(2):
        for prefix in [(0,), (1,), (0, 1), (1, 0)]:
          if any((shard, part) in hit for part in prefix):
            total += sum(s == shard and p in prefix for s, p in left)
    assert theory.rows_of_repair(
      orders, records=4, shards=2, requests=requests
    ) == pytest.approx(total / 4**4)


def test_one_request_is_what_the_closed_form_says():
  for slices, budget in ((4, 1), (4, 4), (5, 3)):
    orders = sequences.make('cyclic', slices=slices, budget=budget)
    rows = theory.rows_of_repair(orders, records=1001, shards=5, requests=1)
    passes = theory.passes_after_one_hit(slices=slices, budget=budget)
    if budget in (1, slices):
      assert rows == pytest.approx(passes * 1000 / (5 * slices))
    # All at once is the whole training of whoever is left.
    rows = theory.rows_of_repair(orders, records=1e6, shards=2, requests=500)
    assert rows == pytest.approx(
      (1e6 - 500) * budget * (slices + 1) / 2, rel=1e-6
    )


@pytest.mark.parametrize('budget', [1, 2])
def test_requests_until_failure_without_repair(budget):
  drawn = _streams(_demand(), requests=150, count=300)
  row = planner.evaluate(
    planner.Choice(profile(2, 3), budget, NEVER), _demand(), drawn
  )
  assert row['survived']['mean'] == 0
  of = row['formula']
  _near(
    row['deletions_until_failure'],
    of['deletions_until_failure_without_repair'],
    300,
  )
  assert row['deletions_until_failure']['sd'] == pytest.approx(
    of['sd_of_one_stream'], rel=0.2
  )


def test_depth_is_that_after_one_hit_while_repairs_take_their_time():
  """Each repair takes until the next request, or nearly."""
  whole, last = profile(2, 3), []
  for stream in _streams(_demand(), count=200):
    asked = stream.on(2, 3)
    past = events.follow(whole, [(0, 1, 2)], NEVER, asked)
    last.append(sum(past.depths[1]) / 6)
  expected = theory.depth_after_one_hit(shards=2, slices=3, budget=1)
  assert np.mean(last) == pytest.approx(expected, abs=0.05)


def _grid(rate):
  """Six measured choices that differ in all there is."""
  cheap = profile(1, 2, name='cheap', accuracy={'1': 0.4, '2': 0.6})
  worth = {'1 0': 0.6, '2 0': 0.7, '1 1': 0.75, '2 1': 0.78, '2 2': 0.8}
  good = profile(2, 2, name='good', accuracy=worth, epochs=3)
  demand = _demand(rate=rate, examples=40)
  offered = planner.choices([cheap, good], [1, 2], [AT_ONCE, NEVER])
  drawn = _streams(demand, requests=10, count=20)
  return [planner.evaluate(choice, demand, drawn) for choice in offered]


@pytest.mark.parametrize('rate', [50, 2000])
def test_the_proposal_is_the_cheapest_that_keeps_the_level(rate):
  rows = _grid(rate)
  for level in (
    {},
    {'accuracy': 0.5},
    {'accuracy': 0.7},
    {'availability': 0.9, 'depth': 0.5},
    {'availability': 0.995},
  ):
    kept = [
      row
      for row in rows
      if all(row[name]['low'] >= least for name, least in level.items())
    ]
    found = planner.propose(rows, planner.Level(**level))
    if not kept:
      assert found is None
      continue
    assert rows[found] in kept
    least = min(row['hours_a_served_request']['mean'] for row in kept)
    assert rows[found]['hours_a_served_request']['mean'] == least
  assert planner.propose(rows, planner.Level(accuracy=0.9)) is None


@pytest.mark.parametrize('rate', [50, 2000])
def test_undominated_by_brute_force(rate):
  rows = _grid(rate)

  def goods(row):
    return (
      -row['hours_a_served_request']['mean'],
      -row['bytes'],
      row['accuracy']['mean'],
      row['depth']['mean'],
      row['availability']['mean'],
    )

  expected = []
  for i, row in enumerate(rows):
    beaten = False
    for other in rows:
      pairs = list(zip(goods(other), goods(row), strict=True))
      beaten |= all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
    if not beaten:
      expected.append(i)
  assert planner.undominated(rows) == expected
  assert planner.propose(rows, planner.Level()) in expected


def test_bytes_and_training_are_counted_by_stage():
  choice = planner.Choice(profile(2, 2, stage_bytes=[10.0, 30.0]), 2, AT_ONCE)
  row = planner.evaluate(choice, _demand(examples=40), _streams(_demand()))
  assert row['bytes'] == 2 * 2 * 40
  assert row['training_samples'] == 2 * 2 * (10 + 20)
  assert row['training_hours'] * 3600 == 4 * (10 * 1 + 20 * 2)


def test_an_interval_is_of_what_is_finite():
  found = planner.interval([1.0, 2.0, 3.0, math.nan])
  assert found['mean'] == 2 and found['sd'] == 1
  # t of 2 degrees of freedom at 97.5 %.
  assert found['high'] - 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
  assert math.isnan(planner.interval([math.nan])['mean'])


@pytest.mark.parametrize(
  'change, words',
  [
    ({'examples': 0}, 'examples is a whole number >= 1, got 0'),
    ({'rate': 0.0}, 'rate is more than 0 requests a day, got 0.0'),
    ({'rate': math.nan}, 'rate is more than 0.*nan'),
    (
      {'groups': [demand_lib.Group(units=0.5, requests=1.0)]},
      r'units are >= 0 and sum to 1, got \[0.5\]',
    ),
    (
      {'groups': [demand_lib.Group(units=1.0, requests=1.0, rows=0)]},
      r'rows are whole numbers >= 1, got \[0\]',
    ),
  ],
)
def test_wrong_demands_are_refused(change, words):
  with pytest.raises(errors.ConfigError, match=words):
    _demand(**change)


def test_wrong_questions_are_refused():
  with pytest.raises(errors.ConfigError, match='streams 1'):
    _streams(_demand(), count=1)
  with pytest.raises(errors.ConfigError, match='requests 0'):
    _streams(_demand(), requests=0)
  with pytest.raises(errors.ConfigError, match='fewer requests'):
    _streams(_demand(examples=20), requests=21)
  with pytest.raises(errors.ConfigError, match=r'budgets .*\[0\]'):
    planner.choices([profile()], [0], [AT_ONCE])
  with pytest.raises(errors.ConfigError, match='nothing to choose'):
    planner.choices([], [1], [AT_ONCE])
  with pytest.raises(errors.ConfigError, match='depth is from 0 to 1, got 3'):
    planner.Level(depth=3)
  with pytest.raises(errors.UnknownName, match="'weekly'"):
    planner.Choice(profile(), 1, events.Policy('weekly')).check()
  with pytest.raises(errors.ConfigError, match='budget 3'):
    planner.Choice(profile(), 3, AT_ONCE).check()
