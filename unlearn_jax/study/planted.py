"""The trials of a study of leaks: groups of models, and who judges them.

Each trial of a leak has models and oracles of its own, and draws for itself
which examples are kept. To train no more than is needed the same groups of
oracles serve the null trials and every size of leak, in a ring: group i is
judged against group i + 1, so a null trial shares a group with each of its two
neighbors. RMIA's references are the group after that. What CKA and relearning
take for the original is one group for all, but for edits the very models that
were edited; both edits are of the same originals.
"""

import numpy as np

from unlearn_jax import errors, keys, trees, types
from unlearn_jax.study import arena, cases, subsets
from unlearn_jax.unlearners import _words

EDITS = ('head bias', 'head column')
LEAKING = 5 * 10**6  # models of these numbers leak; see subsets.py for others
_MARGIN = 1.0  # nats between an edited class and the best of the others


class Trials:
  """The trials of one forget set: a case, and the group that is judged."""

  def __init__(self, place: arena.Arena, settings, name: str, forget):
    self._place, self._name, self._forget = place, name, forget
    self._count, self._ring = settings['models'], settings['null_trials']
    self._base = place.models(subsets.BASE, place.few)
    self._original = place.evidence(self._base.params)
    self._clean: dict[int, arena.Evidence] = {}

  def null(self, trial: int):
    """Oracles against oracles."""
    return self._case(trial + 1), self._oracles(trial)

  def leak(self, share: float, trial: int):
    """Models that learned a part of the forget set, oracles if none."""
    size = len(self._forget)
    kept = max(1, round(share * size)) if share else 0
    ids = self._place.ground.train.ids[self._forget]
    order = keys.order(ids, f'kept of {self._name} {trial}')
    without = self._forget[order[kept:]]
    # Models of another leak have other numbers, so no start is shared.
    first = LEAKING + (kept * self._ring + trial) * self._count
    params = self._place.ground.models(first, self._count, without)
    return self._case(trial), self._place.evidence(params)

  def edit(self, name: str, trial: int):
    """Originals with an edited head."""
    first = subsets.BASE + self._place.few + trial * self._count
    params = self._place.ground.models(first, self._count)
    original = self._place.evidence(params)
    (label,) = np.unique(self._place.ground.y[self._forget])
    edited = with_wiped_class(
      params,
      original.logits[:, self._forget],
      label,
      column=name == 'head column',
    )
    case = self._case(trial, original)
    return case, self._place.evidence(edited)

  def _case(self, number: int, original=None) -> cases.Case:
    return cases.Case(
      place=self._place,
      forget=self._forget,
      base=self._base,
      retraining=_words.Record(0.0, 0.0, 0.0, 0.0),
      original=original or self._original,
      oracles=self._oracles(number),
      fresh=self._oracles(number + 1),
    )

  def _oracles(self, number: int) -> arena.Evidence:
    """Those of a place in the ring."""
    number %= self._ring
    if number not in self._clean:
      first = subsets.ORACLE + number * self._count
      made = self._place.models(first, self._count, self._forget)
      self._clean[number] = self._place.evidence(made.params)
    return self._clean[number]


def with_wiped_class(
  params: types.Params, logits: np.ndarray, label: int, *, column: bool
) -> types.Params:
  """Models side by side whose head alone is edited: never `label` again.

  Args:
    params: of the models, leaves [models, ...].
    logits: [models, points, classes] of theirs where `label` is not to be
      answered.
    label: the class.
    column: all that the head knows of it goes; otherwise its bias alone falls.
  """
  leaves = trees.flatten(params)
  if not {'head/kernel', 'head/bias'} <= leaves.keys():
    raise errors.ConfigError(
      'edits are of a head with kernel and bias; the model has '
      f'{", ".join(leaves)}'
    )
  kernel, bias = (
    np.array(leaves[f'head/{name}']) for name in ('kernel', 'bias')
  )
  own = logits[:, :, label]
  if column:
    kernel[:, :, label] = 0
    own = np.broadcast_to(bias[:, label, None], own.shape)
  others = np.delete(logits, label, axis=2).max(axis=2)
  too_high = np.max(own - others, axis=1) + _MARGIN
  bias[:, label] -= np.maximum(too_high, 0)
  return trees.unflatten({**leaves, 'head/kernel': kernel, 'head/bias': bias})
