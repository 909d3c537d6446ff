"""Where methods are compared: models, oracles for each forget set, and rows.

Models come from a fleet and are known by their index, so whatever was trained
once is found again by the hash of all it is a function of, in this run or a
later one.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from unlearn_jax import checkpoints, clock, errors, files, registry, types
from unlearn_jax.fleet import fleet as fleet_lib
from unlearn_jax.study import harm as harm_lib
from unlearn_jax.study import subsets

SPLITS = ('forget', 'retain', 'test')


class Models(NamedTuple):
  """Models side by side, leaves [models, ...]; of pruned ones what is kept."""

  params: types.Params
  kept: types.Params | None
  seconds: float  # to train them all, without compiling


class Evidence(NamedTuple):
  """What metrics look at: all points, those that were trained on first."""

  params: types.Params | None  # None: of a system, which has many
  logits: np.ndarray  # [models, points, classes]
  features: np.ndarray | None  # [few models, points, features], if needed


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Arena:
  """One training set, and models that learned it or a part of it.

  Attributes:
    ground: the rows, and the fleet that learns them.
    control: rows that no model sees and methods may choose by.
    pruner: prunes every model, the oracles' too; None: they are dense.
    recipe: digest of all else that a model is a function of.
    folder: of what was trained before.
    few: models of which features are kept: dear metrics look at so many.
    harm: what somebody did to the rows; None: nothing.
  """

  ground: subsets.Ground
  control: types.Dataset
  pruner: Mapping[str, Any] | None
  recipe: str
  folder: pathlib.Path
  few: int
  harm: harm_lib.Harm | None = None

  @property
  def classes(self) -> bool:
    """Whether answers are classes, and not numbers."""
    return self.ground.train.task.kind == 'classification'

  @property
  def truth(self) -> np.ndarray:
    """Labels of all points before anybody changed them."""
    return self.ground.y if self.harm is None else self.harm.y

  @property
  def facts(self) -> list[Any]:
    """All that a result is a function of, beside what was done here."""
    harm = self.harm and [
      self.harm.settings,
      self.ground.train.ids[self.harm.known],
    ]
    return [self.recipe, self.pruner, harm]

  @property
  def test(self) -> np.ndarray:
    """Points that neither models nor methods have seen."""
    every = self.ground.n + len(self.ground.rest)
    return np.arange(self.ground.n + len(self.control), every)

  @property
  def test_ids(self) -> np.ndarray:
    """Ids of the points of `test`."""
    return self.ground.rest.ids[len(self.control) :]

  def splits(self, forget: np.ndarray, unseen=None) -> dict[str, np.ndarray]:
    """Points of each split of a forget set.

    What is retained is what an oracle learns: rows that are neither forgotten
    nor among the `unseen`.
    """
    gone = forget if unseen is None else unseen
    retain = np.setdiff1d(np.arange(self.ground.n), gone)
    control = self.ground.n + np.arange(len(self.control))
    splits = dict(zip(SPLITS, (forget, retain, self.test), strict=True))
    harmed = self.harm.splits if self.harm else {}
    return {**splits, 'control': control, **harmed}

  def models(self, first: int, count: int, without=()) -> Models:
    """`count` models that never saw the rows `without`, from disk if there."""
    without = np.sort(np.asarray(without, int))
    path = self.folder / self._name(first, count, without)
    if checkpoints.exists(path):
      tree, meta = checkpoints.load(path)
      return Models(tree['params'], tree.get('kept'), meta['seconds'])
    began, compiled = time.monotonic(), clock.compiling()
    if self.pruner is None:
      tree = {'params': self.ground.models(first, count, without)}
    else:
      named = dict(self.pruner)
      prune = registry.make('pruners', named.pop('name'), **named)
      seen = self.ground.all_but(without, count)
      made = prune(self.ground.fleet, seen, first + np.arange(count))
      tree = {'params': made.params, 'kept': made.kept}
    compiled = clock.compiling() - compiled
    seconds = time.monotonic() - began - compiled
    files.make_folder(self.folder)
    checkpoints.save(path, tree, {'models': count, 'seconds': seconds})
    return Models(tree['params'], tree.get('kept'), seconds)

  def evidence(self, params: types.Params, features: bool = True) -> Evidence:
    """Answers of models side by side at all points, and maybe features."""
    few = jax.tree.map(lambda leaf: leaf[: self.few], params)
    fleet, x, found = self.ground.fleet, self.ground.x, None
    if features:
      found = fleet_lib.outputs(
        fleet.model, few, x, width=fleet.width, of='features'
      )
    return Evidence(params, fleet.outputs(params, x), found)

  def _name(self, first: int, count: int, without: np.ndarray) -> str:
    ids = self.ground.train.ids[without].tolist()
    facts = [self.recipe, self.pruner, first, count, ids]
    return files.digest(facts)[:24]


def prepare(
  settings: Mapping[str, Any],
  folder: pathlib.Path,
  pruner: Mapping[str, Any] | None,
  *,
  corrupted: Mapping[str, Any] | None = None,
  draw: int = 1,
  ground: subsets.Ground | None = None,
) -> Arena:
  """Draws the rows by the seed of the settings; nothing is trained yet.

  Args:
    settings: of a study.
    folder: of models.
    pruner: of every model.
    corrupted: settings of `corruption.named`; None: the rows are clean.
    draw: which rows are corrupted.
    ground: clean rows of this seed, where they were drawn before: arenas that
      share them share the programs of their models.
  """
  seed = settings['seed']
  ground = ground or subsets.prepare(settings, seed)
  count, left = settings['control_rows'], len(ground.rest)
  if not 1 <= count < left:
    raise errors.ConfigError(
      f'control_rows is 1..{left - 1}, so that some are left to test; got '
      f'{count}'
    )
  harm = None
  if corrupted:
    ground, harm = harm_lib.do(ground, corrupted, 1000 * seed + draw, count)
  return Arena(
    ground=ground,
    control=ground.rest.subset(np.arange(count)),
    pruner=dict(pruner) if pruner else None,
    recipe=subsets.digest(ground, settings, seed),
    folder=folder,
    few=settings['few'],
    harm=harm,
  )
