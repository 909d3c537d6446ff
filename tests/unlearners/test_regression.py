"""Regression goes through the same door; and the two methods that need it.

Targets are a linear function, but for what goes, where a shift is planted.
"""

import dataclasses

import numpy as np
import pytest

from tests.fleet import test_fleet
from unlearn_jax import errors, optimizers, registry, trees, types
from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _words

N, SHIFT = 60, 3.0
FORGET = np.arange(0, 6)
MODEL = registry.make('models', 'mlp', num_outputs=1, hidden=[64])


def clean():
  x = test_fleet.data(N).all().x
  return x @ np.random.default_rng(3).normal(size=(6, 1)).astype(np.float32)


@pytest.fixture(scope='module')
def request_():
  labels = clean()
  labels[FORGET] += SHIFT
  data = dataclasses.replace(
    test_fleet.data(N), task=types.Task('regression', 1), labels=labels
  )
  mine = test_fleet.fleet(
    data,
    model=MODEL,
    epochs=400,
    batch_size=30,
    optimizer=optimizers.make('adam', learning_rate=0.01),
  )
  params = test_fleet.together(mine.train(np.ones((2, N), bool)))
  extra = dataclasses.replace(data, labels=clean())
  return _words.Request(
    model=MODEL,
    params=params,
    data=data,
    forget=FORGET,
    control=extra.subset(np.arange(30, 60)),
    width=2,
  )


def distance(request, params, at, target):
  """Mean absolute distance of the answers at some rows."""
  x = request.data.take(at).x
  return np.abs(fleet.outputs(MODEL, params, x) - target[at]).mean()


def test_the_planted_shift_is_learned(request_):
  assert distance(request_, request_.params, FORGET, clean()) > 0.7 * SHIFT


@pytest.mark.parametrize(
  ('name', 'settings'),
  [
    ('finetune', {'epochs': 50, 'learning_rate': 0.003}),
    ('gradient_ascent', {'epochs': 2, 'learning_rate': 1e-3}),
    ('retrain', {'epochs': 50, 'learning_rate': 0.01}),
    ('ssd', {'threshold': 1.5}),
    ('ssd_label_free', {'threshold': 1.2}),
    ('fisher_forgetting', {}),
    ('influence', {'damping': 0.1}),
    ('neg_merge', {'candidates': 2, 'epochs': 2, 'learning_rate': 1e-3}),
    ('laf', {'epochs': 2}),
  ],
)
def test_any_method(request_, name, settings):
  made = registry.make('unlearners', name, **settings)(request_)
  assert trees.all_finite(made.params)
  assert not trees.bit_diff(made.params, request_.params).equal
  if name in ('finetune', 'retrain', 'gradient_ascent', 'influence'):
    before, after = (
      distance(request_, params, FORGET, request_.data.labels)
      for params in (request_.params, made.params)
    )
    assert after > before


@pytest.mark.parametrize(
  ('name', 'settings'),
  [
    ('blindspot', {'blind_epochs': 100, 'learning_rate': 0.01}),
    ('gaussian_amnesiac', {}),
  ],
)
def test_what_goes_is_unlearned_and_what_stays_is_not(request_, name, settings):
  made = registry.make(
    'unlearners', name, epochs=100, batch_size=16, **settings
  )(request_)
  labels = request_.data.labels
  before, after = (
    distance(request_, params, FORGET, labels)
    for params in (request_.params, made.params)
  )
  assert before < 0.5 and after > 1.0
  if name == 'blindspot':  # who never saw the shift does not know of it
    assert distance(request_, made.params, FORGET, clean()) < 0.6 * SHIFT
  retain = request_.retain
  assert distance(request_, made.params, retain, labels) < 0.6


def test_the_blind_model_is_blind(request_):
  """Targets of what goes are not declared, and inputs of it teach no targets:
  the same start and the same order give the same model."""
  other = request_.data.labels.copy()
  other[FORGET] = 1e6
  made = registry.make('unlearners', 'blindspot')
  first = made(request_)
  second = made(
    request_._replace(data=dataclasses.replace(request_.data, labels=other))
  )
  assert trees.bit_diff(first.params, second.params).equal


@pytest.mark.parametrize(
  ('name', 'wanted'),
  [
    ('blindspot', 'regression'),
    ('gaussian_amnesiac', 'regression'),
    ('potion', 'classification'),
    ('random_label', 'classification'),
  ],
)
def test_a_task_without_meaning_is_refused(request_, name, wanted):
  if wanted == 'regression':
    data = test_fleet.data(N)
    model = test_fleet.MODEL
    mine = test_fleet.fleet(data, epochs=1)
    params = test_fleet.together(mine.train(np.ones((1, N), bool)))
    request_ = request_._replace(model=model, data=data, params=params)
  with pytest.raises(errors.ConfigError, match=f'is for {wanted}'):
    registry.make('unlearners', name)(request_)


def test_a_method_for_classes_is_refused_by_its_name(request_):
  scrub = registry.make('unlearners', 'scrub')
  with pytest.raises(errors.ConfigError, match='scrub: .*got a .*regression'):
    scrub(request_)
  rewound = registry.make('unlearners', 'scrub_rewind')
  with pytest.raises(errors.ConfigError, match='scrub_rewind needs control'):
    rewound(request_._replace(control=None))
