"""Train, drop the smallest weights, go back to where they were, train again.

The lottery ticket with late rewinding (Frankle et al., 2020), in one round or
many: the mask comes from trained weights, the weights from an early epoch.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, trees
from unlearn_jax.fleet import fleet as fleet_lib
from unlearn_jax.pruners import _words

MASK_FROM = ('all', 'retain')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
  """A search for masks by magnitude.

  Attributes:
    fractions: of the weights that live after each round.
    rewind: 'init', or the epoch whose weights the sparse models restart at;
      the schedule is advanced by as much.
    mask_from: who is seen in the search. 'all' rows of the data, as published,
      so that a retrained sparse model still knows the forgotten through its
      mask; or those who `retain` their place, the rows of the model's own mask.
    scope: of what is pruned.
  """

  fractions: Sequence[float]
  rewind: str | int
  mask_from: str
  scope: _words.Scope

  def __post_init__(self):
    errors.check_choice('mask_from', self.mask_from, MASK_FROM)
    _words.check_scope(self.scope)
    if isinstance(self.rewind, str):
      errors.check_choice('rewind', self.rewind, ('init',))

  def __call__(
    self,
    fleet: fleet_lib.Fleet,
    masks: np.ndarray,
    indices: Sequence[int] | None = None,
  ) -> _words.Pruned:
    """A sparse model for each mask of rows."""
    begin = self._begin(fleet)
    shapes = _words.kernels(fleet, self.scope)
    counts = [_words.count_of(part, shapes) for part in self.fractions]
    masks, indices = np.asarray(masks), _words.numbered(masks, indices)
    seen = masks if self.mask_from == 'retain' else np.ones_like(masks)

    def rewound(rows):
      return fleet_lib.together(fleet.train(rows, indices, end=begin))

    start = rewound(seen)
    trained = fleet_lib.together(fleet.train(seen, indices))
    chosen = _smallest_out(trained, counts[0], shapes)
    for count in counts[1:]:
      made = _words.finish(fleet, seen, indices, start, chosen, begin)
      chosen = _smallest_out(made.params, count, chosen, chosen)
    if begin and not np.array_equal(seen, masks):
      start = rewound(masks)
    return _words.finish(fleet, masks, indices, start, chosen, begin)

  def _begin(self, fleet: fleet_lib.Fleet) -> int:
    begin = 0 if self.rewind == 'init' else self.rewind
    if not 0 <= begin < fleet.epochs:
      raise errors.ConfigError(
        f"rewind is 'init' or an epoch, 0..{fleet.epochs - 1}, got {begin}"
      )
    return begin


def _smallest_out(params, count, paths, living=None):
  """The `count` largest kernels of each model; what is dead stays so."""
  if not trees.all_finite(params):
    raise errors.TrainingDiverged('weights to rank by size are not finite')
  leaves = trees.flatten(params)
  scores = {path: jnp.abs(leaves[path]) for path in paths}
  if living is not None:
    scores = {p: jnp.where(living[p], s, -1.0) for p, s in scores.items()}
  return _words.of_each(scores, count)
