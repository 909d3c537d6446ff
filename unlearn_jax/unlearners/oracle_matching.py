"""Fine-tunes each model towards the outputs of one that never saw the rows.

Not a method to use: who has such a model needs no other. It shows how far
matching can come when its targets are right.
"""

from collections.abc import Callable, Mapping
from typing import Any

from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _matching, _words

NEEDS = ('teachers',)


def make(
  *,
  solver: Mapping[str, Any] | None = None,
  forget_mult: int = 5,
  retain_mult: float = 20,
) -> Callable[[_words.Request], _words.Unlearned]:
  """The unlearner.

  Args:
    solver: `{'name': 'adam' or 'gauss_newton', ...}` with settings of it.
    forget_mult: how often each row that goes is matched.
    retain_mult: rows that stay and are matched, for each that goes.
  """
  solve = _matching.solver(**(solver or {'name': 'adam'}))

  def unlearn(request: _words.Request) -> _words.Unlearned:
    _words.check(request, NEEDS)
    at = _matching.rows(request, forget_mult, retain_mult)
    x = request.data.take(at).x
    targets = fleet.outputs(
      request.model, request.teachers, x, width=request.width
    )
    return _words.Unlearned(solve(request, at, targets))

  return unlearn
