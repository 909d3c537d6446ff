"""How to make a result again: the command, what it was run with, and where."""

import json
import pathlib
import shlex
from typing import Any

from unlearn_jax import errors, files
from unlearn_jax.study.report import tables
from unlearn_jax.study.report.html import Markup, joined, more, section, tag


def read(path: pathlib.Path) -> dict[str, Any]:
  """A JSON file; empty where there is none."""
  try:
    return json.loads(path.read_bytes())
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise errors.WorkdirError(f'{path} is damaged: {error}') from error


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
  """The objects of a file that has one a line; none where there is no file."""
  if not path.exists():
    return []
  try:
    return [json.loads(line) for line in path.read_bytes().splitlines()]
  except ValueError as error:
    raise errors.WorkdirError(f'{path} is damaged: {error}') from error


def of_run(folder: pathlib.Path, summary: dict[str, Any], **facts) -> Markup:
  """The section of a run, as far as its directory says."""
  run, config = read(folder / 'run.json'), read(folder / 'config.json')
  command = shlex.join(['python', *run['argv']]) if run else None
  git = run.get('git') or {}
  found = {
    'config digest': summary.get('config') or _digest(config),
    'revision': git.get('revision'),
    'with local changes': git.get('dirty'),
    'started': run.get('started'),
    'seconds': summary.get('seconds'),
    'device': summary.get('device'),
    **facts,
    **run.get('versions', {}),
  }
  return section(
    'How to reproduce',
    tag('pre', command) if command else None,
    tables.facts(
      'What it was run with',
      {name: value for name, value in found.items() if value is not None},
    ),
    _whole('The whole configuration', config),
  )


def of_recipe(recipe: dict[str, Any], facts: dict[str, Any]) -> Markup:
  """The section of a system, which is its recipe and its data."""
  return section(
    'How to reproduce',
    tag(
      'p',
      'The same recipe on the surviving examples gives the same bits; ',
      tag('code', 'audit.py --level=E2'),
      ' does that and compares.',
    ),
    tables.facts('What it is', facts),
    _whole('The whole recipe', recipe),
  )


def _whole(summary: str, value: dict[str, Any]) -> Markup:
  if not value:
    return joined()
  text = json.dumps(value, indent=2, sort_keys=True)
  return more(summary, tag('pre', text))


def _digest(config: dict[str, Any]) -> str | None:
  return files.digest(config) if config else None
