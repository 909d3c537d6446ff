"""Sets of examples to forget, by construction: deterministic, in positions.

Easy and hard ones differ: random examples are replaced by what stays, a set
that the model leans on as a group is not. Each function returns sorted
positions of the training data; a `Chooser` knows which of them a study means.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.linalg

from unlearn_jax import errors, files, keys, registry, types
from unlearn_jax.study import worst_case


def random(data: types.Dataset, size: int, seed: int = 0) -> np.ndarray:
  """A draw by keyed hash of the ids, which no other row can move."""
  _check(size, len(data))
  return np.sort(keys.order(data.ids, f'forget set {seed}')[:size])


def principal(
  weights: np.ndarray, size: int, component: int = 1, both: bool = False
) -> np.ndarray:
  """The largest entries of a principal component of the datamodel matrix.

  Args:
    weights: [n, n] effects of training examples on their own margins.
    size: of the set.
    component: from 1; a negative one takes the other end. The sign of a
      component is fixed so that its largest entry is positive.
    both: half of the set from each end.
  """
  n = len(weights)
  _check(size, n)
  if not 1 <= abs(component) <= n:
    raise errors.ConfigError(
      f'component is 1..{n} or its negative, got {component}'
    )
  # Left singular vectors: those of the largest eigenvalues of w w'.
  weights = np.asarray(weights, np.float64)
  at = n - abs(component)
  vector = scipy.linalg.eigh(weights @ weights.T, subset_by_index=[at, at])[1]
  vector = vector[:, 0] * np.sign(vector[np.argmax(np.abs(vector)), 0])
  order = np.argsort(-np.sign(component) * vector)
  other = size // 2 if both else 0
  return np.sort(np.r_[order[: size - other], order[n - other :]])


def of_class(labels: np.ndarray, label: int, size: int) -> np.ndarray:
  """The first examples of a class."""
  found = np.flatnonzero(labels == label)
  if size != len(found):
    _check(size, len(found), f'of class {label}')
  return found[:size]


def nearest(features: np.ndarray, to: int, size: int) -> np.ndarray:
  """Example `to` and its nearest neighbors in a feature space [n, d]."""
  _check(size, len(features))
  if not 0 <= to < len(features):
    raise errors.UnknownPosition(f'{to} is not in 0..{len(features) - 1}')
  distances = np.linalg.norm(features - features[to], axis=1)
  return np.sort(np.argsort(distances, kind='stable')[:size])


def memorised(weights: np.ndarray, size: int, after: int = 0) -> np.ndarray:
  """The examples that raise their own margin most; `weights` is [n, n].

  The first `after` of them are left out.
  """
  _check(after + size, len(weights))
  order = np.argsort(-np.diagonal(weights), kind='stable')
  return np.sort(order[after : after + size])


def of_owner(data: types.Dataset, owner: int | str) -> np.ndarray:
  """Everything an owner has given."""
  found = np.flatnonzero(data.owners == owner)
  if not found.size:
    raise errors.UnknownId(f'{owner!r} owns nothing in {data.name}')
  return found


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Chooser:
  """The forget sets of a study by name, and for each others of its kind.

  Those others are for calibration, so none of them is in the table: another
  draw, the next components, classes, examples or owners.

  Attributes:
    data: the rows that are learned.
    seed: of every draw.
    sets: {name: settings}, as `named` gives them.
    effects: [n, n] of training examples on their own margins.
    features: [n, d] of a base model.
    model: of the models that the hardest set is found with.
    params: of such a model by its number; it is in no table. Leaves [1, ...].
    known: of manipulated rows those that were found; None: no row is.
  """

  data: types.Dataset
  seed: int
  sets: Mapping[str, Mapping[str, Any]]
  effects: np.ndarray | None = None
  features: np.ndarray | None = None
  model: types.Model | None = None
  params: Callable[[int], types.Params] | None = None
  known: np.ndarray | None = None

  def __call__(self, name: str, like: int = 0) -> np.ndarray:
    """The set of that name, or the `like`-th other one of its kind."""
    settings = dict(self.sets[name])
    kind, draw = settings.pop('kind'), settings.pop('draw')
    if like:
      kin = [s['draw'] for s in self.sets.values() if s['kind'] == kind]
      draw = max(map(abs, kin)) + like
      if kind == 'principal':
        draw *= (-1) ** like  # its ends in turn: one may be the harder
    return KINDS[kind](self, draw=draw, **settings)

  def check(self, likes: int) -> None:
    """Refuses sets that cannot be drawn, before any model is trained."""
    for name, settings in self.sets.items():
      if settings['size'] or settings['kind'] not in _WHOLE:
        _check(settings['size'], len(self.data))
      if settings['kind'] in _FREE:
        for like in range(likes + 1):
          self(name, like)

  def _random(self, size, draw):
    return random(self.data, size, 1000 * self.seed + draw)

  def _principal(self, size, draw, both=False):
    return principal(self.effects, size, draw, both)

  def _class(self, size, draw):
    if self.data.task.kind != 'classification':
      raise errors.ConfigError(
        f'{self.data.name} has no classes to forget: it is a regression'
      )
    labels = self.data.labels
    label = self._nth(np.unique(labels), draw, 'class')
    return of_class(labels, label, size or np.sum(labels == label))

  def _nearest(self, size, draw):
    to = self._nth(self.data.ids, draw, 'example')
    at = np.flatnonzero(self.data.ids == to)[0]
    return nearest(self.features, at, size)

  def _memorised(self, size, draw):
    return memorised(self.effects, size, after=(draw - 1) * size)

  def _worst(self, size, draw, easiest=False):
    return worst_case.worst_case(
      self.model, self.params(draw), self.data, size, easiest=easiest
    ).positions

  def _owner(self, size, draw):
    """Of those with 2 examples to `size`, who has given most comes first."""
    owners, counts = np.unique(self.data.owners, return_counts=True)
    some = np.flatnonzero((counts >= 2) & (counts <= size))
    some = some[keys.order(owners[some], f'owner {self.seed}')]
    some = some[np.argsort(-counts[some], kind='stable')]
    what = f'owner of 2 to {size} examples'
    return of_owner(self.data, _at(owners[some], draw, what))

  def _manipulated(self, size, draw):
    """What was found; another draw is of an arena of its own."""
    if self.known is None:
      raise errors.ConfigError(
        'sets of the kind manipulated are of an arena with a corruption, and '
        'there is one without'
      )
    return self.known

  def _nth(self, among: np.ndarray, draw: int, what: str):
    drawn = among[keys.order(among, f'{what} {self.seed}')]
    return _at(drawn, draw, what)


def _at(among: np.ndarray, draw: int, what: str):
  if draw > len(among):
    raise errors.ConfigError(
      f'draw {draw} of {what}, with those for calibration, but there are only '
      f'{len(among)}'
    )
  return among[draw - 1]


KINDS = {
  'random': Chooser._random,
  'principal': Chooser._principal,
  'class': Chooser._class,
  'nearest': Chooser._nearest,
  'memorised': Chooser._memorised,
  'owner': Chooser._owner,
  'worst': Chooser._worst,
  'manipulated': Chooser._manipulated,
}
# What a chooser must be given besides data.
_OF_DATAMODEL = ('principal', 'memorised', 'nearest')
_OF_MODEL = ('worst', 'manipulated')
_WHOLE = ('class', 'manipulated')  # which size 0 is all of
_FREE = ('random', 'class', 'owner', 'manipulated')  # drawn without a model


def named(
  sets: Sequence[str] | Mapping[str, Mapping[str, Any]],
  size: int,
  *,
  datamodel: bool = True,
) -> dict[str, dict[str, Any]]:
  """Settings of forget sets: kinds, or {name: {'kind': ...}} with more of it.

  A set may say its `size` (0, for a class: all of it) and, from 1, which `draw`
  of its kind it is: the number of a component (a negative one takes its other
  end), or another class, example, owner or model. A principal one may take
  `both` ends, and the worst be the `easiest` one. A study has a `datamodel` to
  choose by, or else models that are in no table.
  """
  kinds = [
    k for k in KINDS if k not in (_OF_MODEL if datamodel else _OF_DATAMODEL)
  ]
  if not isinstance(sets, Mapping):
    sets = {kind: {'kind': kind} for kind in sets}
  full = {}
  for name, given in sets.items():
    settings = {'kind': name, 'size': size, 'draw': 1, **given}
    errors.check_choice('kind of forget set', settings['kind'], kinds)
    registry.check_arguments(
      KINDS[settings['kind']],
      f'setting of forget set {name!r}',
      {k: v for k, v in settings.items() if k != 'kind'} | {'self': None},
    )
    if settings['kind'] == 'manipulated':
      _check_manipulated(name, given)
      settings['size'] = 0
    draw = settings['draw']
    if not draw or (draw < 0 and settings['kind'] != 'principal'):
      raise errors.ConfigError(
        f'draw of forget set {name!r} is 1 or more, got {draw}'
      )
    full[name] = settings
  if not full:
    raise errors.ConfigError(
      f'forget_sets names none. Allowed: {", ".join(kinds)}'
    )
  return full


def _check_manipulated(name: str, given: Mapping[str, Any]) -> None:
  wrong = sorted({'size', 'draw'} & given.keys())
  if wrong:
    raise errors.ConfigError(
      f'{wrong[0]} of forget set {name!r} is said by the corruption of its '
      'arena: how many of the manipulated rows are known'
    )


def save(path: pathlib.Path, data: types.Dataset, sets) -> None:
  """Writes {name: positions} as JSON, by id: positions belong to one file."""
  named = {name: data.ids[at] for name, at in sets.items()}
  files.write_json(path, named)


def _check(size: int, among: int, what: str = 'there are') -> None:
  if not 1 <= size < among:
    raise errors.ConfigError(
      f'the size of a forget set is 1..{among - 1}, for {among} {what}; got '
      f'{size}'
    )
