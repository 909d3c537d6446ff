"""What a system is a function of, besides its data.

A recipe is plain JSON: it is written beside the system, hashed into the name
of every stage, and enough to build everything again elsewhere. What only
serves (which sequences are trained, how shards are combined) is not part of
what a stage is, and so not of its name.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax import augment, errors, optimizers, registry, types
from unlearn_jax.exact import sequences
from unlearn_jax.models import _vit_weights

SCHEMA = 2  # of what a stage name is hashed from
STRATEGIES = ('sisa', 's3t')
AGGREGATES = ('mean_logit', 'mean_prob', 'vote')


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
  """Every choice of a system. Fields are JSON.

  Attributes:
    data: name and arguments of a data set.
    model: name and arguments of a model.
    strategy: 'sisa' trains all parameters in every stage; 's3t' trains block k
      of the model, and its head, in stage k.
    shards: disjoint parts of the data, each with models of its own.
    slices: ordered parts of a shard, added one by one.
    sequences: arguments of `sequences.make`: kind, budget and so on.
    placement: arguments of `partition.place`: salt and maybe a public prior.
    optimizer, schedule, augment, label_smoothing: as in a plain fit.
    batch_size: rows of a step.
    epochs: passes over a stage's data.
    mesh: sizes of the axes 'data' and 'model' that a stage is trained on,
      rows of a batch over one, parameters over the other; empty is one device.
    carry: keep the optimizer's state from a stage to the next.
    seed: of everything random.
    aggregate: how the shards' answers are combined.
    fallback: 'error', or 'prior' to answer zeros when no shard is alive.
    retention: seconds for which what a deletion has made stale stays on disk.
  """

  data: Mapping[str, Any]
  model: Mapping[str, Any]
  strategy: str = 'sisa'
  shards: int = 4
  slices: int = 4
  sequences: Mapping[str, Any] = dataclasses.field(
    default_factory=lambda: {'kind': 'cyclic', 'budget': 1}
  )
  placement: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  optimizer: Mapping[str, Any] = dataclasses.field(
    default_factory=lambda: {'name': 'adam', 'learning_rate': 1e-3}
  )
  schedule: Mapping[str, Any] = dataclasses.field(
    default_factory=lambda: {'name': 'constant', 'warmup': 0.0}
  )
  augment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  label_smoothing: float = 0.0
  batch_size: int = 64
  epochs: int = 1
  mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)
  carry: bool = False
  seed: int = 0
  aggregate: str = 'mean_logit'
  fallback: str = 'error'
  retention: float = 0.0

  def __post_init__(self):
    errors.check_choice('strategy', self.strategy, STRATEGIES)
    errors.check_choice('aggregate', self.aggregate, AGGREGATES)
    errors.check_choice('fallback', self.fallback, ('error', 'prior'))
    for name in ('shards', 'slices', 'batch_size', 'epochs'):
      value = getattr(self, name)
      if not isinstance(value, int) or value < 1:
        raise errors.ConfigError(
          f'{name} is a whole number >= 1, got {value!r}'
        )
    retention = self.retention
    if type(retention) not in (int, float) or not 0 <= retention < math.inf:
      raise errors.ConfigError(
        f'retention is seconds, 0 or more, got {retention!r}'
      )
    for name in self.placement:
      errors.check_choice('field of placement', name, ('salt', 'prior'))
    self._check_mesh()
    if self.strategy == 's3t' and self.carry:
      raise errors.ConfigError(
        'carry is for sisa: under s3t each stage trains other parameters'
      )

  def _check_mesh(self) -> None:
    mesh = self.mesh
    whole = all(type(size) is int and size > 0 for size in mesh.values())
    if mesh and (set(mesh) != {'data', 'model'} or not whole):
      raise errors.ConfigError(
        "mesh is empty or {'data': d, 'model': k} with whole numbers >= 1, "
        f'got {dict(mesh)}'
      )
    if mesh and self.batch_size % mesh['data']:
      raise errors.ConfigError(
        f'a batch of {self.batch_size} rows cannot be split over '
        f'{mesh["data"]} devices'
      )

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> 'Recipe':
    """A recipe from a plain dict; a field it does not have is refused."""
    registry.check_arguments(cls, 'field of a recipe', values)
    return cls(**values)

  def to_json(self) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(self)))

  def open_data(self, split: str = 'train') -> types.Dataset:
    return _make('data', self.data, split=split)

  def make_model(self, task: types.Task) -> types.Model:
    model = _make('models', self.model, num_outputs=task.num_outputs)
    if self.strategy == 's3t':
      blocks = model.blocks.count if model.blocks else 0
      if blocks != self.slices:
        raise errors.ConfigError(
          f's3t needs a model with one block a slice: {self.slices} slices, '
          f'{blocks} blocks in {self.model["name"]!r}'
        )
    return model

  def make_optimizer(self):
    kwargs = dict(self.optimizer)
    return optimizers.make(kwargs.pop('name'), **kwargs)

  def make_schedule(self) -> optimizers.Schedule:
    return optimizers.make_schedule(**self.schedule)

  def make_augment(self):
    return augment.make(self.augment)

  def make_sequences(self) -> tuple[tuple[int, ...], ...]:
    """Slice orders of every shard, 0-based."""
    kwargs = dict(self.sequences)
    return sequences.make(kwargs.pop('kind'), slices=self.slices, **kwargs)

  def training(self) -> str:
    """What the compiled programs depend on, as text."""
    named = self.to_json()
    fields = (
      'strategy',
      'optimizer',
      'schedule',
      'augment',
      'label_smoothing',
      'mesh',
    )
    chosen = {name: named[name] for name in fields}
    chosen['model'] = [
      _without_weights(self.model),
      _weights_digests(self.model),
    ]
    return json.dumps(chosen, sort_keys=True)

  def digest(self, data: types.Dataset) -> bytes:
    """SHA-256 of what a stage is a function of, apart from its examples.

    Of the data set only the declared, public facts count: where the file lies
    does not.
    """
    served = ('data', 'sequences', 'aggregate', 'fallback', 'retention')
    choices = {k: v for k, v in self.to_json().items() if k not in served}
    choices['model'] = _without_weights(self.model)
    public = {
      'task': dataclasses.asdict(data.task),
      'input_shape': list(data.input_shape),
      'mean': np.asarray(data.mean).tolist(),
      'std': np.asarray(data.std).tolist(),
      # What is in a file of weights counts, not what it is called.
      'weights': _weights_digests(self.model),
    }
    text = json.dumps(
      {'schema': SCHEMA, 'recipe': choices, 'public': public}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).digest()


def _weights_digests(model: Mapping[str, Any]) -> list[str]:
  found = []
  for name, value in sorted(model.items()):
    if isinstance(value, Mapping):
      found += _weights_digests(value)
    elif name == 'weights' and value is not None:
      content = pathlib.Path(_vit_weights.located(value)).read_bytes()
      found.append(hashlib.sha256(content).hexdigest())
  return found


def _without_weights(model: Mapping[str, Any]) -> dict[str, Any]:
  return {
    name: _without_weights(value) if isinstance(value, Mapping) else value
    for name, value in model.items()
    if name != 'weights'
  }


def _make(kind: str, arguments: Mapping[str, Any], **extra: Any) -> Any:
  kwargs = dict(arguments)
  return registry.make(kind, kwargs.pop('name'), **extra, **kwargs)
