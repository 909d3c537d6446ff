"""Answers from whatever is alive.

A view is what serves at one moment: for each shard one stage, or none. It is
replaced in one assignment, so a prediction that has begun ends on the view it
began with, and one that begins later sees only the new one.
"""

from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, types
from unlearn_jax.exact import stages

_BATCH = 128


class AllShardsDead(errors.UnlearnError, RuntimeError):
  """Every shard lost its last stage, and nothing may answer."""


class View(NamedTuple):
  """What serves: stage, parameters and name of each shard, None when dead."""

  stages: tuple[stages.Stage | None, ...]
  params: tuple[types.Params | None, ...]
  names: tuple[str | None, ...]

  @property
  def depths(self) -> list[int]:
    return [stage.depth if stage else 0 for stage in self.stages]

  def only(self, names: Container[str]) -> 'View':
    """Without the shards that answer with a stage of another name."""
    shards = [
      shard if shard[2] in names else (None, None, None)
      for shard in zip(*self, strict=True)
    ]
    return View(*zip(*shards, strict=True)) if shards else self


def choose(
  shards: int,
  sequences: Sequence[Sequence[int]],
  exists,
) -> tuple[stages.Stage | None, ...]:
  """Per shard the longest prefix that exists; ties go to the first sequence."""
  chosen = []
  for shard in range(shards):
    best = None
    for order in sequences:
      for depth in range(len(order), best.depth if best else 0, -1):
        stage = stages.Stage(shard, tuple(order[:depth]))
        if exists(stage):
          best = stage
          break
    chosen.append(best)
  return tuple(chosen)


class Server:
  """Predicts with one compiled program, whatever is alive."""

  def __init__(
    self,
    apply: Callable[..., jax.Array],
    task: types.Task,
    *,
    aggregate: str,
    fallback: str,
  ):
    """`apply(params, x)` is compiled; the rest is as in a recipe."""
    self._apply, self._task = apply, task
    self._aggregate, self._fallback = aggregate, fallback
    self.view = View((), (), ())

  def predict(self, x: np.ndarray) -> np.ndarray:
    """Combined outputs [n, num_outputs] for normalized inputs."""
    view = self.view  # Once: a repair may replace it meanwhile.
    alive = [params for params in view.params if params is not None]
    if not alive:
      if self._fallback == 'prior':
        return np.zeros((len(x), self._task.num_outputs), np.float32)
      raise AllShardsDead(
        f'none of {len(view.stages)} shards has a stage that may be used; '
        'repair, or declare fallback="prior"'
      )
    aggregate = self._aggregate
    if self._task.kind == 'regression':
      aggregate = 'mean_logit'
    return combine(self.answers(alive, x), aggregate)

  def answers(
    self, models: Sequence[types.Params], x: np.ndarray
  ) -> np.ndarray:
    """Outputs [models, n, num_outputs] of each by itself."""
    outputs = [np.zeros((len(models), 0, self._task.num_outputs), np.float32)]
    for start in range(0, len(x), _BATCH):
      rows = x[start : start + _BATCH]
      padding = [(0, _BATCH - len(rows))] + [(0, 0)] * (rows.ndim - 1)
      padded = np.pad(rows, padding)
      sent = [self._apply(params, padded) for params in models]
      outputs.append(np.stack(jax.device_get(sent))[:, : len(rows)])
    return np.concatenate(outputs, axis=1)


def combine(answers: np.ndarray, aggregate: str) -> np.ndarray:
  """One answer [n, outputs] from several [models, n, outputs]."""
  if aggregate == 'mean_logit':
    return answers.mean(axis=0)
  if aggregate == 'mean_prob':
    return np.asarray(jax.nn.softmax(jnp.asarray(answers), -1)).mean(axis=0)
  votes = answers.argmax(-1)[..., None] == np.arange(answers.shape[-1])
  return votes.mean(axis=0, dtype=np.float32)
