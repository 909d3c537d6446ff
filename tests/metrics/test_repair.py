"""Confusion, corrective accuracy and attack success, against plain loops."""

import numpy as np
import pytest

from unlearn_jax import errors
from unlearn_jax.metrics import attack_success, confusion, corrective


def _answers(logits):
  return [[int(np.argmax(row)) for row in model] for model in logits]


def _swaps(answers, labels, pair):
  """How many of the two classes are taken for the other, and of how many."""
  asked = [(a, y) for a, y in zip(answers, labels, strict=True) if y in pair]
  return sum(a != y and a in pair for a, y in asked), len(asked)


def test_confusion_as_a_plain_loop():
  inputs = confusion.null(0) | {'classes': (3, 1)}
  labels = inputs['labels']
  found = confusion.make()(**inputs)
  for name in ('unlearned', 'oracles'):
    rates, counts = [], []
    for test in _answers(inputs[name].test):
      wrong, asked = _swaps(test, labels.test, (3, 1))
      rates.append(100 * wrong / asked)
    for forget in _answers(inputs[name].forget):
      counts.append(_swaps(forget, labels.forget, (3, 1))[0])
    np.testing.assert_allclose(getattr(found, name), rates)
    np.testing.assert_array_equal(getattr(found.forget, name), counts)
    assert max(rates) > 0 and max(counts) > 0
  with pytest.raises(errors.DataError, match='no example of the classes'):
    confusion.make()(**(inputs | {'classes': (7, 8)}))
  with pytest.raises(errors.DataError, match='got 1 twice'):
    confusion.make()(**(inputs | {'classes': (1, 1)}))


def test_a_model_that_still_swaps_is_found():
  inputs = confusion.null(0)
  swapped = [1, 0, 2, 3, 4]
  still = confusion.Outputs(*(x[:, :, swapped] for x in inputs['oracles']))
  found = confusion.make()(**(inputs | {'unlearned': still}))
  assert found.value.low > 5 and not found.at_floor
  assert found.forget.value.low > 0 and not found.forget.at_floor


def test_corrective_as_a_plain_loop():
  inputs = corrective.null(0)
  labels = inputs['labels']
  found = corrective.make()(**inputs)
  for name in ('unlearned', 'oracles'):
    for part, result in (('affected', found), ('rest', found.retain)):
      y = getattr(labels, part)
      expected = [
        100 * np.mean([a == b for a, b in zip(model, y, strict=True)])
        for model in _answers(getattr(inputs[name], part))
      ]
      np.testing.assert_allclose(getattr(result, name), expected)
  # Broken where the trigger is, whole elsewhere: only the value moves.
  wrong = inputs['unlearned']._replace(affected=-inputs['unlearned'].affected)
  broken = corrective.make()(**(inputs | {'unlearned': wrong}))
  assert broken.value.high < 0 and not broken.at_floor
  assert broken.retain.value == found.retain.value


def test_attack_success_as_a_plain_loop():
  inputs = attack_success.null(0) | {'target': 4}
  labels = inputs['labels']
  found = attack_success.make()(**inputs)
  for name in ('unlearned', 'oracles'):
    expected = []
    for model in _answers(inputs[name].triggered):
      hits = [
        a == 4 for a, y in zip(model, labels.triggered, strict=True) if y != 4
      ]
      expected.append(100 * np.mean(hits))
    np.testing.assert_allclose(getattr(found, name), expected)
    clean = [
      100 * np.mean([a == b for a, b in zip(m, labels.clean, strict=True)])
      for m in _answers(inputs[name].clean)
    ]
    np.testing.assert_allclose(getattr(found.clean, name), clean)


def test_a_trigger_that_works_is_found():
  inputs = attack_success.null(0)
  fooled = inputs['unlearned'].triggered.copy()
  fooled[:, :, 0] = 50
  found = attack_success.make()(
    **(inputs | {'unlearned': inputs['unlearned']._replace(triggered=fooled)})
  )
  assert (found.unlearned == 100).all() and not found.at_floor
  assert found.clean.at_floor
  only = inputs['labels']._replace(triggered=np.zeros(100, int))
  for wrong in ({'target': 5}, {'labels': only}):
    with pytest.raises(errors.DataError, match='target'):
      attack_success.make()(**(inputs | wrong))
