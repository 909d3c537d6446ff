"""The work directory of a system: how it begins, and what says it is one."""

import contextlib
import json
import pathlib
import re
import secrets
from typing import Any

from unlearn_jax import errors, files, types
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import merkle, spelling
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib

_FORMAT = 2
_HALF = re.compile(r'ledger\.sqlite(-wal|-shm|-journal)?|\.system\.json\.new')


def folder(workdir: str) -> pathlib.Path:
  """The work directory as a path; an address is none."""
  if '://' in str(workdir):
    raise errors.WorkdirError(
      f'{workdir}: a work directory is a folder, for renames and syncs must be '
      'those of a file system; mount the bucket, and name the mount'
    )
  return pathlib.Path(workdir).absolute()


def begin(
  path: pathlib.Path, recipe: recipe_lib.Recipe, data: types.Dataset
) -> dict[str, Any]:
  """Writes a new system; returns its facts."""
  spelling.check(data.ids, 'id')
  spelling.check(data.owners, 'owner')
  sequences = recipe.make_sequences()
  salt = secrets.token_bytes(32)
  records = records_lib.Records(
    recipe, salt, data.ids, data.owners, data.content_digests()
  )
  with files.naming('begin', path):
    _make_room(path)
  ledger = ledger_lib.Ledger(path / 'ledger.sqlite', salt, create=True)
  roots = merkle.of_roots(records.roots()).hex()
  begun = {'roots': roots, 'recipe': recipe.digest(data).hex()}
  with contextlib.closing(ledger):
    ledger.admit(records.ids, records.owners, records.contents, begun)
  largest = int(records.counts().sum(axis=1).max(initial=1))
  facts = {
    'format': _FORMAT,
    'recipe': recipe.to_json(),
    # The orders themselves: another machine could break a tie otherwise.
    'sequences': sequences,
    'salt': salt.hex(),
    'capacity': program_lib.capacity_for(largest),
  }
  facts['seal'] = files.digest(facts)
  # Last: where it stands, the system is whole.
  with files.naming('begin', path):
    files.write_json(path / 'system.json', facts)
  return facts


def read(path: pathlib.Path) -> dict[str, Any]:
  """The facts of the system at `path`."""
  try:
    files.check_plain(path / 'system.json')
    facts = json.loads((path / 'system.json').read_bytes())
  except FileNotFoundError as error:
    raise errors.WorkdirError(
      f'{path} holds no system: it has no system.json'
    ) from error
  except OSError as error:
    raise errors.WorkdirError(
      f'cannot read {path}/system.json: {error}'
    ) from error
  except ValueError as error:
    raise errors.WorkdirError(f'{path}/system.json is damaged') from error
  if not isinstance(facts, dict):
    raise errors.WorkdirError(f'{path}/system.json is damaged')
  seal = facts.pop('seal', None)
  if facts.get('format') == 1 and seal is None:
    return facts  # of a version that sealed none
  if seal != files.digest(facts):
    raise errors.WorkdirError(f'{path}/system.json is damaged')
  if facts.get('format') != _FORMAT:
    raise errors.WorkdirError(
      f'{path} has format {facts.get("format")}, this version reads {_FORMAT}'
    )
  return facts


def _make_room(path: pathlib.Path) -> None:
  """An empty folder; what a killed `begin` left is no system yet, and goes."""
  files.make_folder(path)
  found = [child.name for child in path.iterdir()]
  if not all(map(_HALF.fullmatch, found)):
    raise errors.WorkdirError(f'{path} is not empty; nothing was touched')
  for name in found:
    files.disk.unlink(path / name)
  files.disk.sync(path)
