"""The door to methods that look at one model.

Such a method is one function, `unlearn(model, params, data, key, *, settings)`,
and the tuple `READS` of what it looks at; `make = _door.door(unlearn, READS)`
makes it a component. `TUNED` may say which settings a study should search, and
between which bounds. The door runs it for every model of a request in one
program, hands over what is declared and nothing else, and holds the weights
that must not move. Settings that are numbers with a point are run-time values:
tuning them compiles nothing.
"""

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import clock, errors, keys, registry, trees, types
from unlearn_jax.fleet import fleet
from unlearn_jax.unlearners import _passes, _words

_LEAST = 256  # rows that anything is filled up to
PARTS = ('forget', 'retain', 'control')


def door(
  unlearn: Callable[..., types.Params], reads: tuple[str, ...]
) -> Callable[..., Callable[[_words.Request], _words.Unlearned]]:
  """The `make` of a method; its keywords are those of `unlearn`."""
  signature = inspect.signature(unlearn)
  settings = [
    p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY
  ]

  def make(**given: Any) -> Callable[[_words.Request], _words.Unlearned]:
    registry.check_arguments(make, f'argument of {unlearn.__module__}', given)
    values = {p.name: _typed(p.default, given.get(p.name)) for p in settings}
    _check(values)
    return functools.partial(_run, unlearn, reads, values)

  make.__signature__ = inspect.Signature(settings)
  make.__doc__, make.unlearn = unlearn.__doc__, unlearn
  return make


def _typed(default, value):
  """A setting as it is; where the default has a point, as such a number."""
  if value is None:
    return default
  return float(value) if isinstance(default, float) else value


def _check(values) -> None:
  for name, value in values.items():
    if isinstance(value, float) and not np.isfinite(value):
      raise errors.ConfigError(f'{name} is a finite number, got {value}')
    if name.endswith(('epochs', 'batch_size')) and value < 1:
      raise errors.ConfigError(f'{name} is at least 1, got {value}')


def _run(unlearn, reads, values, request: _words.Request) -> _words.Unlearned:
  _words.check(request, ())
  if request.control is None and any(r.startswith('control') for r in reads):
    raise errors.ConfigError(f'{_name(unlearn)} needs control rows')
  count = len(jax.tree.leaves(request.params)[0])
  width = min(request.width, -(-count // jax.local_device_count()))
  numbers = {k: np.float32(v) for k, v in values.items() if type(v) is float}
  fixed = tuple((k, v) for k, v in values.items() if k not in numbers)
  program = _program(
    unlearn,
    reads,
    fixed,
    request.model,
    request.data.task,
    request.augment,
    width,
  )
  shared = (
    {part: _rows(request, part, reads) for part in PARTS},
    numbers,
    np.int32(request.seed),
  )
  began, compiled = time.monotonic(), clock.compiling()
  # One round a call: a few models and many then share a program, which takes
  # longer to compile than most methods to run.
  made, read, size = [], None, width * jax.local_device_count()
  for begin in range(0, count, size):
    some = np.arange(begin, min(begin + size, count), dtype=np.int32)
    mine = jax.tree.map(
      lambda leaf, at=some: leaf[at], (request.params, request.kept)
    )
    try:
      params, read = jax.device_get(program(shared, (some, *mine)))
    except errors.ConfigError as error:  # of a task, or a model, it is not for
      raise errors.ConfigError(f'{_name(unlearn)}: {error}') from error
    made.append(params)
  compiled = clock.compiling() - compiled
  return _words.Unlearned(
    jax.tree.map(lambda *parts: np.concatenate(parts), *made),
    record=_words.Record(
      seconds=time.monotonic() - began - compiled,
      compile_seconds=compiled,
      gradients=float(read['gradients'][0]),
      outputs=float(read['outputs'][0]),
    ),
  )


def _name(unlearn: Callable[..., Any]) -> str:
  """Of a method: a study asks many, and an error must say which."""
  return unlearn.__module__.rpartition('.')[2]


@functools.lru_cache(maxsize=64)
def _program(unlearn, reads, fixed, model, task, augment, width):
  def one(shared, index, params, kept):
    parts, numbers, seed = shared
    if kept is not None:
      kept, _ = trees.partition(kept, model.trainable)
    data = _passes.Data(**parts, task=task, kept=kept, augment=augment)
    key = keys.stream(keys.root(seed), 'unlearn', index)
    made = unlearn(model, params, data, key, **dict(fixed), **numbers)
    spent = {'gradients': jnp.zeros(()), 'outputs': jnp.zeros(())}
    for kind, rows in data.read:
      spent[kind] += rows
    return _settled(model, data, params, made), spent

  return fleet.spread(one, width)


def _settled(model, data, before, after):
  """What a method made, with all that must not move as it was."""
  after = _passes.hold(model, data, before, after)
  live, frozen = trees.partition(after, model.trainable)
  _, still = trees.partition(before, model.trainable)
  # Statistics of layers move in the forward pass; a frozen backbone does not.
  stats, _ = trees.partition(frozen, lambda path: not types.not_stats(path))
  _, still = trees.partition(still, lambda path: not types.not_stats(path))
  return trees.merge(live, stats, still)


def _rows(request: _words.Request, part: str, reads) -> _passes.Rows:
  """The rows of a part, padded, without what was not declared."""
  data, at = request.data, None
  if part == 'control':
    data = request.control
    if data is None:
      return _passes.Rows(None, None, None, None, None)
    at = np.arange(len(data))
  else:
    at = np.asarray(getattr(request, part))
  wanted = {field for field in ('x', 'y') if f'{part}.{field}' in reads}
  if not wanted:
    return _passes.Rows(None, None, None, None, None)
  # Sets of like size share a program: what goes is filled up to a power of
  # two, and few sets are smaller than the least; what stays to the whole.
  least = min(_LEAST, len(data))
  size = max(least, 1 << (len(at) - 1).bit_length())
  if part == 'retain':
    size = len(data)
  # ... by a row of its own: any other might be one that is not declared.
  filled = np.concatenate([at, np.full(size - len(at), at[0])])
  examples = data.take(filled)
  return _passes.Rows(
    examples.x if 'x' in wanted else None,
    examples.y if 'y' in wanted else None,
    keys.id_words(examples.id),
    (np.arange(size) < len(at)).astype(np.float32),
    np.int32(len(at)),
  )
