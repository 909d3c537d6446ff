"""The errors a user can meet, each naming the value and what is allowed."""

import difflib
from collections.abc import Iterable


class UnlearnError(Exception):
  """Base of every error this package raises on purpose."""


class UnknownName(UnlearnError, ValueError):
  """A component, option or field that does not exist."""


class UnknownArgument(UnlearnError, TypeError):
  """A keyword that a component does not take."""


class DataError(UnlearnError, ValueError):
  """Data that cannot be trusted: the message names file, row and reason."""


class DataNotFound(DataError, FileNotFoundError):
  """Data that is not there: the message says where it was looked for."""


class UnknownId(UnlearnError, LookupError):
  """An example id or owner that the data set does not hold."""


class UnknownPosition(UnlearnError, IndexError):
  """A row that the data set does not have, or no row at all."""


class ConfigError(UnlearnError, ValueError):
  """A setting outside its allowed values."""


class CheckpointError(UnlearnError, RuntimeError):
  """A stored state that is missing, damaged or not what was asked for."""


class StagesMissing(CheckpointError):
  """Something that needs a whole system, while a repair is due."""


class NotReproducible(UnlearnError, RuntimeError):
  """A machine that does not give the bits it gave before."""


class WorkdirError(UnlearnError, RuntimeError):
  """A work directory that cannot be used for this run."""


class LedgerError(WorkdirError):
  """A ledger that is damaged, rolled back, or cannot be written."""


class FencedOut(LedgerError):
  """A writer that another one has taken over from."""


class RequestConflict(UnlearnError, ValueError):
  """The name of an earlier request that asked for something else."""


class TrainingDiverged(UnlearnError, RuntimeError):
  """A loss or parameter stopped being finite."""


def unknown_name(
  what: str, name: object, allowed: Iterable[str]
) -> UnknownName:
  """The error for a name that is not among `allowed`."""
  return UnknownName(_complaint(what, name, allowed))


def unknown_argument(
  what: str, name: object, allowed: Iterable[str]
) -> UnknownArgument:
  """The error for a keyword that is not among `allowed`."""
  return UnknownArgument(_complaint(what, name, allowed))


def check_choice(what: str, value: object, allowed: Iterable[object]) -> None:
  """Refuses a value that is not among `allowed`."""
  if value not in allowed:
    raise unknown_name(what, value, allowed)


def check_fraction(what: str, value: float) -> None:
  """Refuses a value outside [0, 1), NaN included."""
  if not 0 <= value < 1:
    raise ConfigError(f'{what} is a fraction in [0, 1), got {value}')


def _complaint(what: str, name: object, allowed: Iterable[str]) -> str:
  allowed = sorted(map(str, allowed))
  near = difflib.get_close_matches(str(name), allowed, n=3)
  hint = f' Did you mean {" or ".join(map(repr, near))}?' if near else ''
  return f'unknown {what} {name!r}.{hint} Allowed: {", ".join(allowed)}'
