"""What an attributor may look at, and what it says.

An attributor is `make(**settings)`, which gives a function from a `Setting` to
an `Attribution`. Effects are in the units of the outputs, never up to a scale:
removing the examples F from training is predicted to move the outputs at the
points by `shift(F)`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from unlearn_jax import types


class Setting(NamedTuple):
  """A training set, points of interest, and models that were trained."""

  apply: Callable[[types.Params, Any], Any]  # (params, x) -> logits
  params: types.Params  # of k models trained on everything: leaves [k, ...]
  x: np.ndarray  # [n, ...] inputs trained on
  y: np.ndarray  # [n] their labels
  points: np.ndarray  # [p, ...] inputs asked about
  labels: np.ndarray  # [p] their labels
  decay: float = 0.0  # l2 penalty in the training loss, per example
  masks: np.ndarray | None = None  # [m, n] who was in each of m more trainings
  outputs: np.ndarray | None = None  # [m, p, classes] what came of them


class Attribution(NamedTuple):
  """What the training examples did to the points.

  `of` says to what: 'logits' gives shifts [p, classes], 'margin' gives [p].
  `scores`, where a method has them, is the effect of having each example, [n, p]
  or [n, p, classes]: the shift of F is minus their sum over F.
  """

  of: str
  shift: Callable[[np.ndarray], np.ndarray]  # positions of F -> shifts
  scores: np.ndarray | None = None
