import itertools
import math

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.exact import coverage, hit_sets, sequences

FIXTURE = (0.1, 0.2, 0.3, 0.4)


def _orders(text):
  """Sequences as the papers print them, 1-based."""
  return tuple(tuple(int(c) - 1 for c in word) for word in text.split())


def _hamming(orders):
  pairs = itertools.combinations(np.array(orders), 2)
  return np.mean([(a != b).sum() for a, b in pairs])


def _values(slices, horizon, prior, value):
  """Every order's value for every hit set, and the sets' law; by listing."""
  law = dict.fromkeys(map(frozenset, _subsets(slices)), 0.0)
  for r in range(horizon + 1):
    # P[hit set inside H] = (mass of H + mass elsewhere)^r, then differences.
    for hits in law:
      law[hits] += sum(
        (-1) ** (len(hits) - len(part))
        * (sum(prior[j] for j in part) + 1 - sum(prior)) ** r
        for part in map(frozenset, _subsets(slices))
        if part <= hits
      ) / (horizon + 1)
  worth = {
    order: np.array([value[sequences.live_length(order, h)] for h in law])
    for order in itertools.permutations(range(slices))
  }
  return worth, np.array(list(law.values()))


def _subsets(slices):
  for size in range(slices + 1):
    yield from itertools.combinations(range(slices), size)


def test_the_first_rotations_are_those_of_the_paper():
  for budget in range(1, 5):
    made = sequences.make('cyclic', slices=4, budget=budget)
    assert made == _orders('1234 4123 3412 2341')[:budget]


def test_beyond_rotations_suffixes_rotate_under_a_kept_prefix():
  made = sequences.make('cyclic', slices=4, budget=12)
  assert made[4:6] == _orders('1423 1342')
  assert made[6:8] == _orders('4312 4231')


@pytest.mark.parametrize('slices', range(1, 6))
def test_cyclic_invariants_at_every_budget(slices):
  everything = sequences.make(
    'cyclic', slices=slices, budget=math.factorial(slices)
  )
  assert set(everything) == set(itertools.permutations(range(slices)))
  for budget in range(1, len(everything) + 1):
    made = sequences.make('cyclic', slices=slices, budget=budget)
    assert made == everything[:budget]  # a larger budget keeps the smaller
    assert len({order[0] for order in made}) == min(budget, slices)
    if budget <= slices:
      assert all(len(set(place)) == budget for place in zip(*made, strict=True))


@pytest.mark.parametrize(
  'slices, printed', [(4, 3.130), (5, 4.034), (6, 5.007)]
)
def test_mean_hamming_distances(slices, printed):
  for budget in range(2, slices + 1):
    made = sequences.make('cyclic', slices=slices, budget=budget)
    assert _hamming(made) == slices
  count = math.factorial(slices)
  formula = (slices - 1) * count / (count - 1)
  assert formula == pytest.approx(printed, abs=5e-4)
  if slices < 6:  # 258,840 pairs take seconds
    made = sequences.make('cyclic', slices=slices, budget=count)
    assert _hamming(made) == pytest.approx(formula)


@pytest.mark.parametrize(
  'horizon, scores',
  [(3, (1.607, 1.279, 0.421, 0.273)), (1, (3.5, 3.1, 1.9, 1.5))],
)
def test_matching_reproduces_the_fixture(horizon, scores):
  made = sequences.make(
    'matching', slices=4, budget=4, prior=FIXTURE, horizon=horizon
  )
  assert made == _orders('1234 2143 3412 4321')
  found = [sequences.score(order, FIXTURE, horizon) for order in made]
  assert found == pytest.approx(scores, abs=1e-9)
  for budget in range(1, 4):
    assert made[:budget] == sequences.make(
      'matching', slices=4, budget=budget, prior=FIXTURE, horizon=horizon
    )


@pytest.mark.parametrize('slices', range(1, 8))
def test_position_diverse_sequences_have_one_total_score_at_t_1(slices):
  prior = np.random.default_rng(slices).dirichlet(np.ones(slices))
  for kind in ('matching', 'cyclic'):
    made = sequences.make(
      kind, slices=slices, budget=slices, prior=prior, horizon=1
    )
    assert all(len(set(place)) == slices for place in zip(*made, strict=True))
    total = sum(sequences.score(order, prior, 1) for order in made)
    assert total == pytest.approx(
      slices * (slices + 1) * (slices - 1) / 6, abs=1e-12
    )


@pytest.mark.parametrize('seed', range(5))
def test_matching_takes_the_best_assignment_at_each_position(seed):
  """Against all feasible assignments, for the orders it really made."""
  slices, horizon = 4, 5
  prior = np.random.default_rng(seed).dirichlet(np.ones(slices)) * 0.9
  made = sequences.make(
    'matching', slices=slices, budget=slices, prior=prior, horizon=horizon
  )
  for position in range(1, slices):
    best = max(
      sum(
        sequences.score((*order[:position], j), prior, horizon)
        for order, j in zip(made, following, strict=True)
      )
      for following in itertools.permutations(range(slices))
      if all(
        j not in order[:position]
        for order, j in zip(made, following, strict=True)
      )
    )
    total = sum(
      sequences.score(order[: position + 1], prior, horizon) for order in made
    )
    assert total == pytest.approx(best, rel=1e-8)


def test_the_score_is_the_mean_triangle_of_the_live_length():
  order, t = (2, 0, 3, 1), 4
  *_, law = hit_sets.laws(np.array(FIXTURE), t)
  live = [
    sequences.live_length(order, [j for j in range(4) if h >> j & 1])
    for h in range(16)
  ]
  expected = sum(p * k * (k + 1) / 2 for p, k in zip(law, live, strict=True))
  assert sequences.score(order, FIXTURE, t) == pytest.approx(expected)


def test_matching_survives_scores_that_underflow():
  made = sequences.make('matching', slices=20, budget=20, horizon=10**6)
  assert len(set(made)) == 20


def test_live_length_golden_case():
  made = _orders('1234 4123 3412 2341')
  seen = [
    [sequences.live_length(order, range(hit)) for order in made]
    for hit in range(1, 5)
  ]
  assert seen == [[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
  assert sequences.live_length(made[0], ()) == 4


@pytest.mark.parametrize('slices', [1, 3, 5])
def test_bit_sets_and_plain_sets_agree(slices):
  orders = list(itertools.permutations(range(slices)))[::3]
  found = hit_sets.live_lengths(orders, hit_sets.every(slices))
  for number, length in enumerate(found):
    hits = {j for j in range(slices) if number >> j & 1}
    assert length == max(sequences.live_length(o, hits) for o in orders)


def test_live_lengths_reach_the_last_bit():
  order = tuple(range(63, -1, -1))
  hits = np.array([0, 1, 1 << 63], np.uint64)
  assert hit_sets.live_lengths([order], hits).tolist() == [64, 63, 0]


def test_sampling_is_keyed_and_nested():
  big = sequences.make('sampling', slices=5, budget=40, seed=3)
  assert len(set(big)) == 40
  assert big[:7] == sequences.make('sampling', slices=5, budget=7, seed=3)
  assert big != sequences.make('sampling', slices=5, budget=40, seed=4)


def test_sampling_draws_without_replacement_by_one_minus_p():
  """The frequency of every order against the product of its choices."""
  prior = np.array([0.7, 0.2, 0.05, 0.0])
  count = 4000
  first = [
    sequences.make('sampling', slices=4, budget=1, prior=prior, seed=seed)[0]
    for seed in range(count)
  ]
  for order in itertools.permutations(range(4)):
    chance, left = 1.0, (1 - prior).sum()
    for j in order:
      chance *= (1 - prior[j]) / left
      left -= 1 - prior[j]
    sd = math.sqrt(count * chance * (1 - chance))
    assert abs(first.count(order) - count * chance) < 4 * sd


def test_sampling_fills_the_whole_set_and_knows_when_it_cannot():
  made = sequences.make('sampling', slices=4, budget=24, prior=FIXTURE)
  assert set(made) == set(itertools.permutations(range(4)))
  sure = (1.0, 0.0, 0.0)  # slice 0 can only come last: two orders
  made = sequences.make('sampling', slices=3, budget=2, prior=sure)
  assert set(made) == {(1, 2, 0), (2, 1, 0)}
  with pytest.raises(errors.ConfigError, match='only 2 different'):
    sequences.make('sampling', slices=3, budget=3, prior=sure)


@pytest.mark.parametrize('slices', range(1, 6))
@pytest.mark.parametrize('value', ['length', 'steep', 'flat'])
def test_every_greedy_step_is_the_best_of_all_permutations(slices, value):
  rng = np.random.default_rng(slices)
  prior = rng.dirichlet(np.full(slices, 0.7)) * 0.8
  value = {
    'length': np.arange(slices + 1.0),
    'steep': np.arange(slices + 1.0) ** 2,
    'flat': np.append(0, np.sort(rng.random(slices))),
  }[value]
  horizon, budget = 6, min(5, math.factorial(slices))
  made = sequences.make(
    'greedy',
    slices=slices,
    budget=budget,
    prior=prior,
    horizon=horizon,
    value=value,
  )
  worth, law = _values(slices, horizon, prior, value)
  covered = np.zeros(law.size)
  for number, order in enumerate(made, 1):
    best = max(law @ np.maximum(covered, w) for w in worth.values())
    covered = np.maximum(covered, worth[order])
    assert law @ covered == pytest.approx(best, rel=1e-9)
    assert coverage.expected_value(
      made[:number], prior=prior, horizon=horizon, value=value
    ) == pytest.approx(law @ covered, rel=1e-9)


def test_greedy_goes_on_when_nothing_can_be_gained():
  """Six orders serve every hit set of four slices; the rest are any."""
  covering = coverage.greedy(24, prior=np.full(4, 0.25))
  assert len(covering) == 6
  made = sequences.make('greedy', slices=4, budget=24)
  assert made[:6] == tuple(covering) and len(set(made)) == 24


@pytest.mark.parametrize('slices', [4, 6])
@pytest.mark.parametrize('horizon', [5, 100])
def test_greedy_is_at_least_as_good_as_the_others(slices, horizon):
  """No theorem (greedy is within 1 - 1/e): so it is in all these cases."""
  rng = np.random.default_rng(slices)
  priors = [np.full(slices, 1 / slices)]
  priors += list(rng.dirichlet(np.full(slices, 0.5), size=5))
  for prior, budget in itertools.product(priors, range(1, slices + 1)):
    arguments = {'slices': slices, 'budget': budget, 'prior': prior}
    ascending = np.argsort(prior).tolist()
    others = [
      sequences.make('matching', horizon=horizon, **arguments),
      sequences.make('cyclic', **arguments),
      [
        [ascending[j] for j in order]
        for order in sequences.make('cyclic', **arguments)
      ],
    ]
    made = sequences.make('greedy', horizon=horizon, **arguments)
    found, *rest = (
      coverage.expected_value(some, prior=prior, horizon=horizon)
      for some in (made, *others)
    )
    assert found >= max(rest) * (1 - 1e-12)


def test_given_sequences_come_back_as_tuples():
  given = [np.array([1, 0, 2]), [0, 1, 2]]
  made = sequences.make('given', slices=3, budget=2, given=given)
  assert made == ((1, 0, 2), (0, 1, 2))
  assert all(type(j) is int for order in made for j in order)


@pytest.mark.parametrize(
  'given, message',
  [
    ([[0, 1], [0, 0]], r'sequence 1 is \(0, 0\): .* 0..1 once'),
    ([[0, 2]], r'sequence 0 is \(0, 2\)'),
    ([[0]], r'sequence 0 is \(0,\)'),
    ([[0, 1.0]], r'sequence 0 is \[0, 1.0\]'),
    ([3], 'sequence 0 is 3'),
    ([[1, 0], [0, 1], [1, 0]], r'sequence 2 repeats sequence 0, \(1, 0\)'),
    ([], 'budget 0: 2 slices have 1..2'),
  ],
)
def test_wrong_sequences_are_refused_by_name(given, message):
  with pytest.raises(errors.ConfigError, match=message):
    sequences.validate(given, 2)


@pytest.mark.parametrize(
  'kind, change, message',
  [
    ('cyclic', {'budget': 0}, 'budget 0: 4 slices have 1..24'),
    ('cyclic', {'budget': 25}, 'budget 25: 4 slices have 1..24'),
    ('cyclic', {'slices': 0}, 'slices 0'),
    ('matching', {'budget': 5}, 'budget 5: matching .* 4'),
    ('matching', {'horizon': -1}, 'horizon -1'),
    ('matching', {'prior': (0.5, 0.6, 0, 0)}, 'at most 1 in sum'),
    ('matching', {'prior': (0.5, 0.5)}, 'must be 4 probabilities'),
    ('greedy', {'prior': (-0.1, 0.5, 0, 0)}, r'prior \(-0.1'),
    ('greedy', {'prior': (math.nan, 0.5, 0, 0)}, r'prior \(nan'),
    ('greedy', {'value': (0, 1, 2, 1, 3)}, r'value \(0, 1, 2, 1, 3\)'),
    ('greedy', {'value': (1, 1, 2, 3, 3)}, 'the first 0'),
    ('greedy', {'slices': 17}, '17 slices: .* at most 16'),
    ('given', {}, 'budget 0'),
    ('given', {'given': [[0, 1, 2, 3]]}, '1 sequences for a budget of 2'),
  ],
)
def test_wrong_settings_are_refused_by_name(kind, change, message):
  with pytest.raises(errors.ConfigError, match=message):
    sequences.make(kind, **{'slices': 4, 'budget': 2} | change)


def test_an_unknown_kind_lists_what_exists():
  with pytest.raises(errors.UnknownName, match='cyclic, given, greedy'):
    sequences.make('cylic', slices=4, budget=2)


def test_sets_of_more_than_64_slices_are_refused():
  with pytest.raises(errors.ConfigError, match='65 slices: .* up to 64'):
    hit_sets.prefix_masks(range(65))
