"""A component is a file, found by its name.

`make('models', 'mlp', num_outputs=10)` imports `unlearn_jax/models/mlp.py` and
calls its `make`. There is no table to edit: adding a file adds the component.
Names that begin with an underscore are helpers of a folder, not components.
`register` is for what has no file yet, such as a method in a notebook.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import unlearn_jax
from unlearn_jax import errors

_REGISTERED: dict[tuple[str, str], ModuleType] = {}


def kinds() -> tuple[str, ...]:
  """The component folders: those that say so with `COMPONENTS = True`."""
  folders = (
    m.name for m in pkgutil.iter_modules(unlearn_jax.__path__) if m.ispkg
  )
  return tuple(
    name
    for name in sorted(folders)
    if getattr(
      importlib.import_module(f'unlearn_jax.{name}'), 'COMPONENTS', False
    )
  )


def available(kind: str) -> tuple[str, ...]:
  """Names of the components of `kind`, sorted."""
  registered = (name for of, name in _REGISTERED if of == kind)
  return tuple(sorted({*_files(kind), *registered}))


def register(
  kind: str, name: str, make: Callable[..., Any], **words: Any
) -> None:
  """Makes a component known that is no file, until this process ends.

  Registering a name again replaces it: a cell of a notebook is run many times.
  A file is never replaced.

  Args:
    kind: the folder in which it would be.
    name: what configs call it.
    make: as the file would have it, with keywords only.
    **words: what else the file would say, such as `TUNED` of an unlearner.
  """
  if name in _files(kind):
    raise errors.ConfigError(
      f'{name!r} is a file of {kind} already; a registered component has a '
      'name of its own'
    )
  if not name.isidentifier() or name.startswith('_'):
    raise errors.ConfigError(
      f'a component is named as a file could be, and not with _, got {name!r}'
    )
  if not callable(make):
    raise errors.ConfigError(f'make of {name!r} is a function, got {make!r}')
  module = ModuleType(name)
  vars(module).update(words, make=make)
  _REGISTERED[kind, name] = module


def get(kind: str, name: str) -> ModuleType:
  """The module of a component."""
  errors.check_choice(f'name in {kind}', name, available(kind))
  if (kind, name) in _REGISTERED:
    return _REGISTERED[kind, name]
  return importlib.import_module(f'unlearn_jax.{kind}.{name}')


def _files(kind: str) -> tuple[str, ...]:
  errors.check_choice('kind of component', kind, kinds())
  package = importlib.import_module(f'unlearn_jax.{kind}')
  found = (m.name for m in pkgutil.iter_modules(package.__path__))
  return tuple(name for name in found if not name.startswith('_'))


def make(kind: str, name: str, **kwargs) -> Any:
  """Builds a component; a keyword it does not take is refused by name."""
  module = get(kind, name)
  check_arguments(module.make, f'argument of {kind}/{name}', kwargs)
  return module.make(**kwargs)


def check_arguments(function, what: str, kwargs) -> None:
  """Refuses keywords that `function` does not take, and missing ones."""
  parameters = inspect.signature(function).parameters
  for keyword in kwargs:
    if keyword not in parameters:
      raise errors.unknown_argument(what, keyword, parameters)
  missing = [
    name
    for name, parameter in parameters.items()
    if parameter.default is inspect.Parameter.empty and name not in kwargs
  ]
  if missing:
    raise errors.UnknownArgument(
      f'missing {what}: {", ".join(missing)}. It takes: {", ".join(parameters)}'
    )
