"""Datamodel matching: fine-tunes each model towards predicted outputs.

The targets are the model's own outputs, moved by what an attribution says that
the rows had done: each model of an ensemble keeps its own (Georgiev et al.,
2025). Any attributor will do.
"""

from collections.abc import Callable, Mapping
from typing import Any

from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _matching, _words

NEEDS = ('shift',)


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
    now = fleet.outputs(request.model, request.params, x, width=request.width)
    return _words.Unlearned(solve(request, at, now + request.shift[..., at, :]))

  return unlearn
