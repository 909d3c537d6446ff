"""What an unlearner is given, and what it gives back.

An unlearner is `make(**settings)`, which gives a function from a `Request` to
an `Unlearned`. `NEEDS` in its file names the optional fields it cannot do
without. Base models stand side by side, each is unlearned by itself.
"""

from typing import NamedTuple

import numpy as np

from unlearn_jax import augment as augment_lib
from unlearn_jax import errors, types


class Request(NamedTuple):
  """Models trained on everything, and what they are to forget."""

  model: types.Model
  params: types.Params  # leaves [models, ...]
  data: types.Dataset  # what they were trained on
  forget: np.ndarray  # positions in it
  seed: int = 0
  # Models that never saw `forget`, one for each, whose outputs are the goal.
  teachers: types.Params | None = None
  # Predicted change of the logits, [points, outputs] for all models or [models,
  # points, outputs] for each; the points begin with the rows of `data`.
  shift: np.ndarray | None = None
  width: int = 4  # models that share an operation
  # Which weights may move, booleans like `params`: what is pruned stays so.
  kept: types.Params | None = None
  control: types.Dataset | None = None  # that no model saw, to choose by
  augment: augment_lib.Augment | None = None  # as the models were trained

  @property
  def retain(self) -> np.ndarray:
    """Positions of what stays."""
    return np.setdiff1d(np.arange(len(self.data)), self.forget)


class Record(NamedTuple):
  """What unlearning has cost; compiling is apart, it happens once."""

  seconds: float  # for all models together
  compile_seconds: float
  gradients: float  # examples differentiated, for each model
  outputs: float  # examples only looked at, for each model


class Unlearned(NamedTuple):
  """The models afterwards, and what is added to their answers at the points."""

  params: types.Params
  shift: np.ndarray | None = None
  record: Record | None = None


def check(request: Request, needs: tuple[str, ...]) -> None:
  """Refuses a request that cannot be carried out, before anything is done."""
  for name in needs:
    if getattr(request, name) is None:
      raise errors.ConfigError(f'this unlearner needs {name}')
  forget, rows = np.asarray(request.forget), len(request.data)
  if not forget.size or len(np.unique(forget)) != len(forget):
    raise errors.UnknownPosition(
      f'what is forgotten are distinct rows, at least one, got {forget[:5]}'
    )
  if forget.min() < 0 or forget.max() >= rows or len(forget) == rows:
    raise errors.UnknownPosition(
      f'what is forgotten are some of the rows 0..{rows - 1}, not all, got '
      f'{forget.min()}..{forget.max()}'
    )
  if request.shift is not None and np.shape(request.shift)[-2] < rows:
    raise errors.DataError(
      f'the shift begins with one row for each of {rows} examples, got '
      f'{np.shape(request.shift)[-2]}'
    )
