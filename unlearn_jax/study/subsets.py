"""One seed of a study: a training set, models of subsets, and a datamodel.

What is dear here is kept: a killed run goes on with the next models of the
fleet, whose indices say all there is to know about them.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from unlearn_jax import (
  augment,
  checkpoints,
  errors,
  files,
  keys,
  losses,
  optimizers,
  registry,
  types,
)
from unlearn_jax.attributors import _moments, _words
from unlearn_jax.fleet import fleet as fleet_lib

# Models of one purpose never share an index with those of another.
BASE, SUBSET, HELD_OUT, CALIBRATION, ORACLE = (i * 10**6 for i in range(5))
_SAVE_EVERY = 16  # chunks of the fleet
SPLITS = ('forget', 'retain', 'validation')

Report = Callable[[int], None]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
  """What one seed stands on.

  Attributes:
    fleet: trains on `train`.
    train: the rows that are learned, drawn by the seed.
    rest: the others, for validation.
    x, y: inputs and labels of all points, those of `train` first.
  """

  fleet: fleet_lib.Fleet
  train: types.Dataset
  rest: types.Dataset
  x: np.ndarray
  y: np.ndarray

  @property
  def n(self) -> int:
    return len(self.train)

  def models(self, first: int, count: int, without=()) -> types.Params:
    """`count` models that never saw the rows `without`, side by side."""
    seen = self.all_but(without, count)
    return fleet_lib.together(self.fleet.train(seen, first + np.arange(count)))

  def all_but(self, without, count: int) -> np.ndarray:
    """Masks [count, n] of who learns every row but `without`."""
    masks = np.ones((count, self.n), bool)
    masks[:, np.asarray(without, int)] = False
    return masks

  def setting(self, params: types.Params, points) -> _words.Setting:
    """What an attributor sees that asks about `points`, as positions."""
    examples = self.train.all()
    return _words.Setting(
      self.fleet.model.apply,
      params,
      examples.x,
      examples.y,
      self.x[points],
      self.y[points],
    )

  def features(self, params: types.Params) -> np.ndarray:
    """What the last layer of one model sees of the rows of `train`, [n, d]."""

    def of_one(x):
      return self.fleet.model.features(params, x[None])[0]

    return np.asarray(jax.lax.map(of_one, self.x[: self.n], batch_size=256))

  def logits(self, params: types.Params) -> np.ndarray:
    """[models, points, classes]."""
    return self.fleet.outputs(params, self.x)

  def margins(self, logits: np.ndarray) -> np.ndarray:
    """[models, points] of logits of these points."""
    return np.asarray(jax.vmap(losses.margin, (0, None))(logits, self.y))

  def splits(self, forget) -> dict[str, np.ndarray]:
    """Which of the points are in each split."""
    at = np.arange(len(self.x))
    gone = np.isin(at, forget)
    parts = gone, (at < self.n) & ~gone, at >= self.n
    return dict(zip(SPLITS, parts, strict=True))


def prepare(
  settings: Mapping[str, Any], seed: int, *, regression: bool = False
) -> Ground:
  """Draws the rows of a seed and builds the fleet that learns them.

  A `regression` is refused unless the study says that it has numbers for one.
  """
  named = dict(settings['data'])
  data = registry.make('data', named.pop('name'), **named)
  if data.task.kind != 'classification' and not regression:
    raise errors.ConfigError('margins are of classes; this is a regression')
  rows, most = settings['rows'], settings['validation_rows'] or len(data)
  if not 2 <= rows < len(data):
    raise errors.ConfigError(
      f'rows is 2..{len(data) - 1}, so that some are left to validate; got '
      f'{rows}'
    )
  drawn = keys.order(data.ids, f'study {seed}')
  train, rest = data.subset(drawn[:rows]), data.subset(drawn[rows:][:most])
  model = dict(settings['model'])
  optimizer = dict(settings['optimizer'])
  fleet = fleet_lib.Fleet(
    model=registry.make(
      'models',
      model.pop('name'),
      num_outputs=data.task.num_outputs,
      **model,
    ),
    data=train,
    optimizer=optimizers.make(optimizer.pop('name'), **optimizer),
    schedule=optimizers.make_schedule(**settings['schedule']),
    augment=augment.make(settings['augment']),
    batch_size=settings['batch_size'],
    epochs=settings['epochs'],
    seed=seed,
    width=settings['width'],
  )
  x = np.concatenate([train.all().x, rest.all().x])
  y = np.concatenate([train.labels, rest.labels])
  return Ground(fleet=fleet, train=train, rest=rest, x=x, y=y)


def masks(
  count: int, n: int, alpha: float | Sequence[float], seed: int
) -> np.ndarray:
  """[count, n] independent draws, a mask the same whoever asks for more.

  Several `alpha` take turns, mask by mask.
  """
  alphas = np.ravel(alpha)
  for one in alphas:
    check_alpha(one)
  numbers = keys.fraction(np.arange(count * n), f'masks {seed}')
  return numbers.reshape(count, n) < np.resize(alphas, (count, 1))


def check_alpha(alpha: float) -> None:
  """Refuses subsets of nobody, or of everybody."""
  if not 0 < alpha < 1:
    raise errors.ConfigError(f'alpha is between 0 and 1, got {alpha}')


class Sums:
  """Streamed sums over models of subsets, for logits and for margins.

  `rows` are the margins [models, n] of each model at the rows of `train`, for
  which no sum will do; only with `keep`, for that is as much as the masks.
  """

  def __init__(self, ground: Ground, keep: bool = False):
    classes = ground.train.task.num_outputs
    self.logits = _moments.Moments(ground.n, (len(ground.x), classes))
    self.margins = _moments.Moments(ground.n, (len(ground.x),))
    self._kept = [np.zeros((0, ground.n), np.float32)] if keep else None

  @property
  def rows(self) -> np.ndarray | None:
    return None if self._kept is None else np.concatenate(self._kept)

  def add(self, ground: Ground, seen: np.ndarray, logits: np.ndarray) -> None:
    margins = ground.margins(logits)
    self.logits.add(seen, logits)
    self.margins.add(seen, margins)
    if self._kept is not None:
      self._kept.append(margins[:, : ground.n])

  def state(self) -> dict[str, Any]:
    """Everything, as arrays to store; `restore` takes it back."""
    tree = {'logits': self.logits.state(), 'margins': self.margins.state()}
    return tree if self._kept is None else tree | {'rows': self.rows}

  def restore(self, state: Mapping[str, Any]) -> None:
    self.logits = _moments.Moments.restore(state['logits'])
    self.margins = _moments.Moments.restore(state['margins'])
    if self._kept is not None:
      self._kept = [np.asarray(state['rows'])]


def train_subsets(
  ground: Ground,
  settings: Mapping[str, Any],
  seed: int,
  folder: pathlib.Path,
  report: Report,
) -> Sums:
  """Trains the models of subsets and keeps of them what `Sums` does.

  `folder` holds how far a killed run came.
  """
  count = settings['subset_models']
  seen = masks(count, ground.n, settings['alphas'], seed)
  named = 'subset_models', 'alphas', 'own_effects'
  inputs = digest(ground, settings, seed, *named)
  sums, done = Sums(ground, settings['own_effects']), 0
  last = checkpoints.latest(folder)
  if last and checkpoints.load_meta(last)['inputs'] == inputs:
    tree, meta = checkpoints.load(last)
    sums.restore(tree)
    done = meta['done']
    report(done)
  elif folder.exists():  # of other settings
    shutil.rmtree(folder)
  chunks = ground.fleet.train(seen[done:], SUBSET + np.arange(done, count))
  for number, chunk in enumerate(chunks, start=1):
    part = slice(done, done + len(chunk.indices))
    sums.add(ground, seen[part], ground.logits(chunk.params))
    done = part.stop
    report(len(chunk.indices))
    if done == count or not number % _SAVE_EVERY:
      path = folder / f'after_{done}'
      files.make_folder(folder)
      checkpoints.save(path, sums.state(), {'inputs': inputs, 'done': done})
      for other in folder.iterdir():
        if other != path:
          shutil.rmtree(other)
  return sums


def digest(
  ground: Ground, settings: Mapping[str, Any], seed: int, *more: str
) -> str:
  """Of everything that a fleet's models are a function of, and of `more`."""
  named = ('model', 'optimizer', 'schedule', 'augment', 'batch_size', 'epochs')
  named += ('width', *more)
  facts = [seed, {name: settings[name] for name in named}]
  text = json.dumps(files.to_json(facts), sort_keys=True)
  found = hashlib.sha256(text.encode())
  for data in (ground.train, ground.rest):
    found.update(data.content_digests().tobytes())
  return found.hexdigest()
