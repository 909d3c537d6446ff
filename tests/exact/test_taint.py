"""What a deleted example was, and that it was, leaves no trace.

Three systems learn from files that differ in one person's examples: as they
are, altered, never there. After the deletion everything a system keeps, serves
and answers is the same, bit for bit. No second builder is asked: what is seen
here is what was kept from before.
"""

import contextlib

import numpy as np
import pytest
from flax import linen as nn

from tests.exact import layouts
from unlearn_jax.exact import system as system_lib
from unlearn_jax.models import _layers, mlp

PERSON = [5 + 3 * row for row in range(4, 9)]  # more than a batch of 4
X = np.random.default_rng(1).normal(size=(7, *layouts.SHAPE))
FIELDS = {'shards': 1, 'batch_size': 4, 'schedule': {'name': 'linear'}}
_NORMED = {'kind': 'mlp', 'carry': False}
KINDS = {
  'mlp': {'kind': 'mlp'},  # with dropout, and carries its optimizer
  'vit': {'kind': 'vit'},
  'normed': {**_NORMED, 'model': {'name': 'mlp', 'hidden': [7]}},
  'resnet': {
    **_NORMED,
    'model': {'name': 'resnet', 'width': 2, 'norm': 'batch'},
  },
}


class _Normed(nn.Module):
  """The smallest model with statistics: a resnet takes long to compile."""

  num_outputs: int
  hidden: tuple[int, ...]

  @nn.compact
  def __call__(self, x, context):
    x = x.reshape(len(x), -1)
    x = _layers.Projection(*self.hidden, name='hidden')(x, context)
    x = nn.relu(_layers.BatchNorm(name='norm')(x, context))
    return _layers.Projection(self.num_outputs, name='head')(x, context), x


def normed(*, num_outputs, hidden):
  return _layers.as_model(_Normed(num_outputs, tuple(hidden)))


def write(path, case):
  """Nobody but the person has class 0, and only as the person is."""
  layouts.write(path, n=24, without=PERSON if case == 'never there' else ())
  arrays = dict(np.load(path))
  theirs = np.isin(arrays['id'], PERSON)
  arrays['owner'] = np.where(theirs, PERSON[0], arrays['id'])
  arrays['y'] = np.where(theirs, 0, 1 + arrays['id'] % 2)
  if case == 'altered':
    arrays['y'] = np.where(theirs, 1, arrays['y'])
    arrays['x'][theirs] = 3 - 2 * arrays['x'][theirs]
  np.savez(path, **arrays)


def outputs(system):
  return system.digests(), system.served(), system.predict(X).tobytes()


@contextlib.contextmanager
def created(kind, case, folder):
  folder.mkdir()
  write(folder / 'data.npz', case)
  config = layouts.config(file=folder / 'data.npz', **FIELDS | KINDS[kind])
  system = system_lib.System.create(str(folder / 'system'), config)
  with contextlib.closing(system):
    yield system


def check(kind, folder):
  with pytest.MonkeyPatch.context() as patch:
    if kind == 'normed':
      patch.setattr(mlp, 'make', normed)
    _check(kind, folder)


def _check(kind, folder):
  at_once, in_the_end = [], []
  for case in ('as they are', 'altered', 'never there'):
    with created(kind, case, folder / case) as system:
      system.train()
      if case != 'never there':
        before = outputs(system)
        assert system.delete(owners=PERSON[:1]).deleted == len(PERSON)
        assert outputs(system)[1:] != before[1:]
        at_once.append(outputs(system))
        system.repair()
      in_the_end.append(outputs(system))
  assert at_once[0] == at_once[1]
  assert in_the_end[0] == in_the_end[1] == in_the_end[2]


@pytest.mark.parametrize(
  'kind',
  ['mlp', 'vit', 'normed', pytest.param('resnet', marks=pytest.mark.slow)],
)
def test_a_person_who_left_cannot_be_told_from_another_or_nobody(
  kind, tmp_path
):
  check(kind, tmp_path)


@pytest.mark.parametrize('moment', [1, 2, 3, 4])
def test_a_person_may_leave_at_any_moment_of_the_training(moment, tmp_path):
  stages, receipts = [], []

  def leave(*unused):
    stages.append(moment)
    if len(stages) == moment:
      receipts.append(system.delete(owners=PERSON[:1]))

  with created('mlp', 'never there', tmp_path / 'never there') as system:
    system.train()
    expected = outputs(system)
  with created('mlp', 'as they are', tmp_path / 'as they are') as system:
    system.train(leave)
    assert receipts[0].deleted == len(PERSON)
    assert outputs(system) == expected
