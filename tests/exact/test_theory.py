import itertools
import math

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.exact import sequences, simulation, theory

# (shards, slices, budget, mean, sd of one stream) as the specification prints
# them, but for two means whose last digit is one too high there (66.37, 71.96;
# exactly 66.3646 and 71.9548).
TABLE = (
  (1, 4, 1, 4.00, 3.46),
  (1, 4, 2, 6.00, 3.74),
  (1, 4, 3, 7.33, 3.80),
  (1, 4, 4, 8.33, 3.80),
  (5, 4, 1, 45.67, 23.23),
  (5, 4, 2, 58.58, 23.69),
  (5, 4, 3, 66.36, 23.79),
  (5, 4, 4, 71.95, 23.80),
  (5, 6, 1, 68.50, 35.34),
  (5, 6, 2, 87.87, None),
  (5, 6, 3, 99.55, None),
  (5, 6, 4, 107.93, None),
  (5, 6, 5, 114.48, None),
  (5, 6, 6, 119.85, 36.48),
  (5, 32, 1, 365.33, 192.62),
  (5, 32, 8, 684.57, 201.97),
  (5, 32, 16, 794.48, None),
  (5, 32, 32, 904.88, 202.60),
  (10, 32, 1, 937.27, 397.19),
  (10, 32, 8, 1588.95, 406.92),
  (10, 32, 32, 2031.07, 407.54),
  (5, 64, 1, 730.67, 386.19),
  (5, 64, 8, 1369.13, 405.64),
  (5, 64, 64, 2031.07, 407.54),
)


def _cyclic(slices, budget):
  return sequences.make('cyclic', slices=slices, budget=budget)


@pytest.mark.parametrize('shards, slices, budget, mean, sd', TABLE)
def test_deletion_rate(shards, slices, budget, mean, sd):
  found = theory.deletion_rate(shards=shards, slices=slices, budget=budget)
  assert found[0] == pytest.approx(mean, abs=0.0051)
  if sd is not None:
    assert found[1] == pytest.approx(sd, abs=0.0051)


def test_sequences_beyond_the_slices_do_not_delay_death():
  some = theory.deletion_rate(shards=3, slices=4, budget=4)
  assert theory.deletion_rate(shards=3, slices=4, budget=24) == some


@pytest.mark.parametrize(
  'budget, records, mean',
  [
    (1, 10, 39.92),
    (1, 100, 45.03),
    (1, 1000, 45.60),
    (4, 10, 59.66),
    (4, 100, 70.56),
    (4, 1000, 71.81),
  ],
)
def test_deletion_rate_of_distinct_records(budget, records, mean):
  found = theory.deletion_rate_distinct(
    shards=5, slices=4, budget=budget, records=records
  )
  assert float(found) == pytest.approx(mean, abs=0.0051)


def test_distinct_records_by_listing_every_order_of_deletion():
  """2 shards of 2 slices of 2 records, B = 1: records 0..3 are slices 0."""
  waits = [
    max(
      min(order.index(0), order.index(1)), min(order.index(2), order.index(3))
    )
    + 1
    for order in itertools.permutations(range(8))
  ]
  found = theory.deletion_rate_distinct(shards=2, slices=2, budget=1, records=2)
  assert found * len(waits) == sum(waits)


@pytest.mark.parametrize('shards, slices, budget', [(1, 4, 2), (10, 32, 32)])
def test_deletion_rate_of_a_uniform_prior_is_the_plain_one(
  shards, slices, budget
):
  mean, _ = theory.deletion_rate(shards=shards, slices=slices, budget=budget)
  total = shards * slices
  prior = np.full(shards * budget, 1 / total)
  assert theory.deletion_rate_skewed(prior) == pytest.approx(mean, rel=1e-8)


def test_deletion_rate_of_a_skewed_prior_by_inclusion_and_exclusion():
  prior = np.array([0.4, 0.3, 0.01, 0.001])
  exact = sum(
    (-1) ** (size + 1) / prior[list(some)].sum()
    for size in range(1, 5)
    for some in itertools.combinations(range(4), size)
  )
  assert theory.deletion_rate_skewed(prior) == pytest.approx(exact, rel=1e-8)


def test_dead_fraction_adds_up_to_the_deletion_rate():
  for budget in (1, 3):
    system = {'shards': 2, 'slices': 3, 'budget': budget}
    dead = theory.dead_fraction(**system, requests=400)
    assert dead[0] == 0.0 and (np.diff(dead) >= 0).all()
    mean, sd = theory.deletion_rate(**system)
    alive = 1 - dead
    assert alive.sum() == pytest.approx(mean)
    second = ((2 * np.arange(401) + 1) * alive).sum()  # E[T^2]
    assert second - mean**2 == pytest.approx(sd**2)


@pytest.mark.parametrize(
  'slices, length, kept',
  [
    (4, 1, (1, 1, 1, 0.9062)),
    (4, 2, (1, 0.75, 0.4375, 0.2344)),
    (4, 3, (1, 0.25, 0.0625, 0.0156)),
    (6, 2, (1, 1, 0.9444, 0.7778)),
    (6, 3, (1, 0.8333, 0.5278, 0.3009)),
  ],
)
def test_retention_of_rotations(slices, length, kept):
  made = _cyclic(slices, slices)
  found = [theory.retention(made, requests=r)[length] for r in range(1, 5)]
  assert found == pytest.approx(kept, abs=5.1e-5)


@pytest.mark.parametrize('prior', [None, (0.5, 0.1, 0.2)])
def test_retention_by_listing_every_stream(prior):
  made = [(0, 1, 2), (2, 0, 1), (2, 1, 0)]
  chances = np.append(prior, 0.2) if prior else np.full(3, 1 / 3)
  kept = np.zeros(4)
  for stream in itertools.product(range(len(chances)), repeat=4):
    length = max(sequences.live_length(order, stream) for order in made)
    kept[: length + 1] += chances[list(stream)].prod()
  found = theory.retention(made, requests=4, prior=prior)
  assert found == pytest.approx(kept)


def test_retention_of_a_chain():
  for length, requests in itertools.product(range(5), range(5)):
    assert theory.retention_chain(
      slices=4, length=length, requests=requests
    ) == pytest.approx(
      theory.retention(_cyclic(4, 1), requests=requests)[length]
    )


def test_the_printed_retention_is_not_the_truth():
  case = {'slices': 4, 'length': 1, 'budget': 4, 'requests': 3}
  assert theory.retention_printed(**case) == pytest.approx(0.888, abs=5e-4)
  assert theory.retention_random(**case) == pytest.approx(0.846, abs=5e-4)
  assert theory.retention(_cyclic(4, 4), requests=3)[1] == pytest.approx(1.0)


def test_the_printed_gain_over_a_chain():
  case = {'slices': 5, 'length': 2, 'requests': 2}
  chain = theory.retention_chain(**case)
  gain = theory.retention_printed(**case, budget=3) - chain
  lost = 1 - chain
  assert gain == pytest.approx(lost * (1 - lost**2))
  few = theory.retention_printed(**case, budget=20)  # B' = 5 * 4
  assert theory.retention_printed(**case, budget=99) == few


def test_retention_of_random_sequences_by_listing_all_pairs():
  every = list(itertools.permutations(range(3)))
  for length, requests in itertools.product(range(4), range(4)):
    mean = np.mean(
      [
        theory.retention(pair, requests=requests)[length]
        for pair in itertools.product(every, repeat=2)
      ]
    )
    assert theory.retention_random(
      slices=3, length=length, budget=2, requests=requests
    ) == pytest.approx(mean)


@pytest.mark.parametrize(
  'budget, lengths',
  [
    (1, (4, 1.5, 0.875, 0.5625, 0.3828, 0.2695, 0.1938)),
    (2, (4, 2.25, 1.4375, 0.9844, 0.6992, 0.5068, 0.3718)),
    (4, (4, 3, 2, 1.5, 1.1562, 0.8906, 0.6816)),
  ],
)
def test_expected_served_length(budget, lengths):
  made = _cyclic(4, budget)
  found = [theory.expected_length(made, requests=r) for r in range(7)]
  assert found == pytest.approx(lengths, abs=5.1e-5)


def test_a_wrong_prior_is_refused():
  with pytest.raises(errors.ConfigError, match='must be 4 probabilities'):
    theory.retention(_cyclic(4, 1), requests=1, prior=(0.5, 0.5))


def test_depth_after_one_hit():
  found = [
    theory.depth_after_one_hit(shards=5, slices=4, budget=b) for b in (1, 2, 4)
  ]
  assert found == pytest.approx((0.875, 0.9125, 0.950))
  for slices in range(1, 7):
    for budget in range(1, slices + 1):
      length = theory.expected_length(_cyclic(slices, budget), requests=1)
      assert theory.depth_after_one_hit(
        shards=3, slices=slices, budget=budget
      ) == pytest.approx(1 - (1 - length / slices) / 3)


@pytest.mark.parametrize('slices', range(1, 7))
def test_repair_after_one_hit(slices):
  """Formulas against counting prefixes; every slice is hit once."""
  hits = np.uint64(1) << np.arange(slices, dtype=np.uint64)
  for budget in range(1, slices + 1):
    redone, passes = simulation.repair_size(_cyclic(slices, budget), hits)
    case = {'slices': slices, 'budget': budget}
    assert redone.mean() == pytest.approx(theory.stages_after_one_hit(**case))
    assert passes.mean() == pytest.approx(theory.passes_after_one_hit(**case))
  # With every rotation there, it does not matter which slice is hit.
  assert set(redone) == {slices * (slices + 1) // 2}
  assert set(passes) == {slices * (slices + 1) * (2 * slices + 1) // 6}


def test_trie_sizes():
  assert [theory.trie_size(n) for n in (3, 4, 5, 6)] == [15, 64, 325, 1956]
  chains = [n * math.factorial(n) for n in (3, 4, 5, 6)]
  assert chains == [18, 96, 600, 4320]


@pytest.mark.parametrize(
  'records, shards, requests, one_by_one, batch',
  [(1000, 4, 10, 2478.75, 933.686), (60000, 20, 100, 299652.5, 59544.768)],
)
def test_cost_of_shards(records, shards, requests, one_by_one, batch):
  case = {'records': records, 'shards': shards, 'requests': requests}
  assert theory.shards_one_by_one(**case) == pytest.approx(one_by_one)
  assert theory.shards_batch(**case) == pytest.approx(batch, abs=5.1e-4)
  assert theory.lone_shard_batch(**case) == pytest.approx(batch / shards)
  linear = records * requests / shards
  assert theory.shards_one_by_one(**case) < linear


def test_cost_of_slices():
  speedups = [1 / theory.slices_factor(slices=r, hits=1) for r in (2, 4, 8, 50)]
  assert speedups == pytest.approx((1.2, 1.333, 1.412, 1.485), abs=5e-4)
  factors = [theory.slices_factor(slices=50, hits=h) for h in (1, 2, 5, 10)]
  assert factors == pytest.approx(
    (0.67333, 0.83667, 0.95338, 0.98521), abs=5e-6
  )
  printed = 1 / theory.slices_factor_printed(slices=50, hits=1)
  assert printed == pytest.approx(1.4781, abs=5e-5)
  for slices in range(1, 9):
    assert theory.slices_factor(slices=slices, hits=1) == pytest.approx(
      2 / 3 + 1 / (3 * slices)
    )


@pytest.mark.parametrize(
  'shards, slices, requests, speedup',
  [
    (20, 50, 18, 2.237),
    (20, 50, 7, 4.748),
    (20, 50, 8, 4.231),
    (5, 4, 1, 6.667),
    (5, 4, 5, 1.851),
  ],
)
def test_joint_cost(shards, slices, requests, speedup):
  found = theory.joint_factor(shards=shards, slices=slices, requests=requests)
  assert 1 / found == pytest.approx(speedup, abs=5e-4)


def test_joint_cost_ends_in_its_parts():
  for hits in (1, 2, 7):
    assert theory.joint_factor(
      shards=1, slices=6, requests=hits
    ) == pytest.approx(theory.slices_factor(slices=6, hits=hits))
    assert theory.joint_factor(
      shards=6, slices=1, requests=hits
    ) == pytest.approx(1 - (5 / 6) ** hits)


def test_best_speedup_is_a_hit_in_the_last_slice():
  slices, shards = 7, 3
  last = np.array([1 << (slices - 1)], np.uint64)
  _, passes = simulation.repair_size(_cyclic(slices, 1), last)
  whole = shards * slices * (slices + 1) / 2
  found = theory.best_speedup(shards=shards, slices=slices)
  assert found == whole / passes[0] == 12
