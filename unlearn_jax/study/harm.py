"""What somebody did to the rows of an arena, and where that shows.

Originals learn the tampered rows as they are. What a method is asked to forget
are those of them that were found; oracles never saw any of them, found or not.
What is tested stays clean, and of poison the same images with the trigger are
points beside it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax.study import corruption, subsets

PARTS = ('affected', 'rest')


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Harm:
  """Tampered rows of a ground.

  Attributes:
    settings: as `corruption.named` gives them.
    manipulated, known: positions of the rows, and of those that were found.
    y: labels of all points as they were before.
    tested: points that are clean.
    triggered: the same with the trigger; none but of poison.
  """

  settings: Mapping[str, Any]
  manipulated: np.ndarray
  known: np.ndarray
  y: np.ndarray
  tested: np.ndarray
  triggered: np.ndarray

  @property
  def kind(self) -> str:
    return self.settings['kind']

  @property
  def splits(self) -> dict[str, np.ndarray]:
    """Points where the harm shows, by their true labels, and the others.

    Images with the trigger; tested points of classes that were swapped; and of
    permuted labels, which harm no points in particular, the rows themselves.
    """
    affected, rest = self.manipulated, self.tested
    if self.kind == 'poison':
      affected = self.triggered
    if self.kind == 'swap':
      hit = np.isin(self.y[self.tested], self.settings['classes'])
      affected, rest = self.tested[hit], self.tested[~hit]
    return dict(zip(PARTS, (affected, rest), strict=True))


def do(
  ground: subsets.Ground,
  settings: Mapping[str, Any],
  seed: int,
  control: int,
) -> tuple[subsets.Ground, Harm]:
  """A ground of tampered rows; of the others, after `control`, all is tested.

  Points of the trigger come last.
  """
  bad = corruption.corrupt(ground.train, settings, seed)
  tested = np.arange(ground.n + control, len(ground.x))
  x = np.concatenate([bad.data.all().x, ground.x[ground.n :]])
  y, truth = np.concatenate([bad.data.labels, ground.y[ground.n :]]), ground.y
  if settings['kind'] == 'poison':
    rows = ground.rest.subset(np.arange(control, len(ground.rest)))
    patch = corruption.Patch(**settings['patch'])
    x = np.concatenate([x, corruption.stamped(rows, patch).all().x])
    y, truth = (np.concatenate([labels, rows.labels]) for labels in (y, truth))
  harmed = dataclasses.replace(
    ground,
    fleet=dataclasses.replace(ground.fleet, data=bad.data),
    train=bad.data,
    x=x,
    y=y,
  )
  return harmed, Harm(
    settings=settings,
    manipulated=bad.manipulated,
    known=bad.known,
    y=truth,
    tested=tested,
    triggered=np.arange(len(ground.x), len(x)),
  )
