"""Answers as the models, moved by what an attribution predicts.

No weight changes: this unlearns predictions at known points, not a model.
"""

from collections.abc import Callable

from unlearn_jax.unlearners import _words

NEEDS = ('shift',)


def make() -> Callable[[_words.Request], _words.Unlearned]:
  """The unlearner."""

  def unlearn(request: _words.Request) -> _words.Unlearned:
    _words.check(request, NEEDS)
    return _words.Unlearned(request.params, request.shift)

  return unlearn
