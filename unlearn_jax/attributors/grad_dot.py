"""Products of gradients: what one step on an example does to the points.

The idea of TracIn (Pruthi et al., NeurIPS 2020) at the models at hand: a
baseline that knows nothing of how examples overlap.
"""

import numpy as np

from unlearn_jax.attributors import _additive, _margins


def make(
  *,
  rate: float = 1.0,
  dim: int | None = 2048,
  projection: str = 'rademacher',
  chunk: int = 64,
  block: int = 4096,
  seed: int = 0,
):
  """An example's effect is that of a gradient step of `rate` on its loss.

  Args:
    rate: for TracIn, the learning rates of all steps on the example, each over
      its batch size, summed. The default of 1 is a unit, not a calibration.
    dim: width of the projection; None keeps every parameter.
    projection: 'rademacher' or 'gaussian'.
    chunk: examples whose gradients are held at once.
    block: parameters whose rows of the projection are held at once.
    seed: of the projection.
  """

  def attribute(setting):
    count, margins = _margins.of_models(
      setting,
      dim=dim,
      projection=projection,
      chunk=chunk,
      block=block,
      seed=seed,
    )
    scores = [
      m.missing[:, None] * (m.examples @ m.points.T)
      for m in map(margins, range(count))
    ]
    return _additive.additive('margin', rate * np.mean(scores, axis=0))

  return attribute
