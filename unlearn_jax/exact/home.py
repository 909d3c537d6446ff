"""The work directory of a system: how it begins, and what says it is one."""

import json
import pathlib
import secrets
from typing import Any

from unlearn_jax import errors, files, types
from unlearn_jax.exact import ledger as ledger_lib
from unlearn_jax.exact import merkle
from unlearn_jax.exact import program as program_lib
from unlearn_jax.exact import recipe as recipe_lib
from unlearn_jax.exact import records as records_lib

_FORMAT = 2


def begin(
  path: pathlib.Path, recipe: recipe_lib.Recipe, data: types.Dataset
) -> dict[str, Any]:
  """Writes a new system; returns its facts."""
  sequences = recipe.make_sequences()
  salt = secrets.token_bytes(32)
  records = records_lib.Records(
    recipe, salt, data.ids, data.owners, data.content_digests()
  )
  files.make_folder(path)
  # What a killed `create` left is no system yet: it is begun again.
  for found in list(path.iterdir()):
    if (
      not found.name.startswith('ledger.sqlite')
      or (path / 'system.json').exists()
    ):
      raise errors.WorkdirError(f'{path} is not empty; nothing was touched')
    files.disk.unlink(found)
  ledger = ledger_lib.Ledger(path / 'ledger.sqlite', salt, create=True)
  roots = merkle.of_roots(records.roots()).hex()
  begun = {'roots': roots, 'recipe': recipe.digest(data).hex()}
  ledger.admit(records.ids, records.owners, records.contents, begun)
  ledger.close()
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
  files.write_json(path / 'system.json', facts)
  return facts


def read(path: pathlib.Path) -> dict[str, Any]:
  """The facts of the system at `path`."""
  try:
    facts = json.loads((path / 'system.json').read_bytes())
  except FileNotFoundError as error:
    raise errors.WorkdirError(f'{path} holds no system') from error
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
