"""Writes the page: finds out what a directory holds, and shows it."""

import pathlib
from typing import Any

from unlearn_jax import errors, files
from unlearn_jax.study.report import (
  html,
  of_benchmark,
  of_live,
  of_matching,
  of_plan,
  of_system,
  png,
  provenance,
)
from unlearn_jax.study.report.document import Document

PAGE, PICTURES = 'report.html', 'report'


def write(workdir: str) -> dict[str, Any]:
  """Writes `<workdir>/report.html`, and its pictures below `report/`."""
  folder = pathlib.Path(workdir)
  kind, found = _document(folder)
  pictures = folder / PICTURES
  files.make_folder(pictures)
  drawn = []
  for figure in found.figures:
    drawn.append(pictures / f'{_plain(figure.name)}.png')
    png.save(figure, drawn[-1])
  text = html.page(found.title, found.lead, dict(found.sections))
  files.replace(folder / PAGE, text.encode())
  return {
    'kind': kind,
    'page': str(folder / PAGE),
    'pictures': [str(path) for path in drawn],
    'lead': list(found.lead),
  }


def _document(folder: pathlib.Path) -> tuple[str, Document]:
  if (folder / 'benchmark.json').exists():
    summary = provenance.read(folder / 'benchmark.json')
    study = summary.get('study', 'matching')
    of = {'benchmark': of_benchmark, 'matching': of_matching}
    errors.check_choice('study', study, tuple(of))
    return study, of[study].document(folder, summary)
  for kind, of_kind in (('live', of_live), ('plan', of_plan)):
    if (folder / f'{kind}.json').exists():
      summary = provenance.read(folder / f'{kind}.json')
      return kind, of_kind.document(folder, summary)
  for home in (folder, folder / 'system'):
    if (home / 'system.json').exists():
      return 'system', of_system.document(home, folder)
  raise errors.WorkdirError(
    f'{folder} holds nothing to report: looked for benchmark.json (of '
    'benchmark.py), live.json (of live.py), plan.json (of plan.py), system.json '
    '(of train.py) and system/system.json (of quickstart.py)'
  )


def _plain(name: str) -> str:
  """A name that no file system minds."""
  return ''.join(c if c.isalnum() else '_' for c in name)
