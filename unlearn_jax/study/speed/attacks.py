"""Two attacks as the benchmark runs them against their published forms."""

import pathlib

import numpy as np
from sklearn import svm

from unlearn_jax import registry
from unlearn_jax.metrics import _features
from unlearn_jax.study.speed import pairs

_MODELS = 2  # and as many oracles


def attacks(folder: pathlib.Path, quick: bool) -> list[pairs.Row]:
  """The attack by an SVC and the exact epsilon, against libsvm and the grid."""
  del folder
  svc = _svc(4_000, 3) if quick else _svc(20_000, 1)  # libsvm takes minutes
  return [svc, _epsilon(3 if quick else 9)]


def _svc(points: int, count: int) -> pairs.Row:
  """Models and oracles, half of the points members."""
  rng = np.random.default_rng(0)
  sizes = {'retain': points // 2, 'test': points // 2, 'forget': points // 4}
  labels = {name: rng.integers(0, 10, size) for name, size in sizes.items()}

  def outputs(sure):
    splits = {}
    for name, y in labels.items():
      logits = rng.normal(0, 1.2, (_MODELS, len(y), 10)).astype(np.float32)
      logits[:, np.arange(len(y)), y] += sure[name]
      splits[name] = logits
    return splits

  known = {'retain': 3.0, 'test': 2.0, 'forget': 3.0}
  asked = {
    'unlearned': outputs(known),
    'oracles': outputs({**known, 'forget': 2.0}),
  }
  metric = registry.make('metrics', 'mia_svc', members='first', draws=1)
  splits = registry.get('metrics', 'mia_svc').Splits

  def mine():
    found = metric(
      **{name: splits(**each) for name, each in asked.items()},
      labels=splits(**labels),
    )
    return [found.unlearned.tolist(), found.oracles.tolist()]

  theirs = []

  def libsvm():
    theirs[:] = [
      [_points_of_libsvm(each, labels, model) for model in range(_MODELS)]
      for each in asked.values()
    ]

  ours = mine()
  times = pairs.measure(libsvm, mine, count)
  return times.row(
    f'scikit-learn / ours, SVC attack, {points:,} points',
    'mia_svc',
    '>= 100' if points == 20_000 else '',
    points_of_both=[ours, theirs],
  )


def _points_of_libsvm(splits, labels, model: int) -> float:
  one = slice(model, model + 1)
  sure = {
    name: _features.confidence(logits[one], labels[name][None]).T
    for name, logits in splits.items()
  }
  machine = svm.SVC(C=3, gamma='auto', kernel='rbf')  # as published
  machine.fit(
    np.concatenate([sure['retain'], sure['test']]),
    np.repeat([1, 0], [len(sure['retain']), len(sure['test'])]),
  )
  return 100 * float(np.mean(machine.predict(sure['forget']) == 0))


def _epsilon(count: int) -> pairs.Row:
  null = registry.get('metrics', 'epsilon').null
  asked = null(0, models=64, points=32)
  exact, official = (
    registry.make('metrics', 'epsilon', rule=rule)
    for rule in ('exact', 'official')
  )
  exact.per_point(**asked)  # compiles
  times = pairs.measure(
    lambda: official.per_point(**asked), lambda: exact.per_point(**asked), count
  )
  return times.row(
    'official grid / exact, epsilon of 64 models', 'epsilon', '>= 50', points=32
  )
