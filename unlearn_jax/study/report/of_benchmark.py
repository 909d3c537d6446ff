"""The page of a benchmark: who comes near retraining, by what, at what cost."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from unlearn_jax.study import leaderboard
from unlearn_jax.study.report import boards, plots, provenance, svg
from unlearn_jax.study.report.document import Document
from unlearn_jax.study.report.html import Markup, more, section, tag

KIND = 'benchmark'


def document(folder: pathlib.Path, summary: dict[str, Any]) -> Document:
  """All there is to say; the leaderboard is made again from the rows."""
  rows = provenance.read_lines(folder / 'rows.jsonl')
  groups = _groups(rows)
  sections, figures, lead = {}, [], []
  for group in groups:
    sections[group.title] = _section(group, figures)
    lead.append(boards.headline(group))
  config = provenance.read(folder / 'config.json')
  sections['How to read this'] = _reading(summary)
  sections['How to reproduce'] = provenance.of_run(
    folder,
    summary,
    seed=config.get('seed'),
    models=summary.get('models'),
    trials=summary.get('trials'),
  )
  return Document(
    title='Unlearned against retrained',
    lead=lead,
    sections=sections,
    figures=figures,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """All of one arena and one kind of forget set."""

  arena: str
  kind: str
  alone: bool  # there is no other arena
  lines: Sequence[dict[str, Any]]  # of the leaderboard, best first, framed
  rows: Sequence[dict[str, Any]]

  @property
  def title(self) -> str:
    sets = f'{self.kind} sets'
    return sets.capitalize() if self.alone else f'{self.arena}: {sets}'

  @property
  def name(self) -> str:
    """As files are called."""
    return f'{self.arena}_{self.kind}'.replace(' ', '_')

  @property
  def methods(self) -> list[dict[str, Any]]:
    return [line for line in self.lines if line['method'] not in boards.FRAMES]


def _groups(rows) -> list[Group]:
  found: dict[tuple, list] = {}
  for line in leaderboard.rank(rows):
    found.setdefault((line['arena'], line['kind']), []).append(line)
  arenas = {arena for arena, _ in found}
  return [
    Group(
      arena=arena,
      kind=kind,
      alone=len(arenas) == 1,
      lines=boards.framed(lines),
      rows=[r for r in rows if (r['arena'], r['kind']) == (arena, kind)],
    )
    for (arena, kind), lines in found.items()
  ]


def _section(group: Group, figures: list) -> Markup:
  """Leaderboard, pictures, details; adds to the figures that become files."""
  trade = plots.trade_off(group)
  first, others = plots.by_metric(group)
  curves, margins = plots.relearning(group), plots.margins(group)
  figures += [f for f in (trade, first, others, curves, margins) if f]
  return section(
    group.title,
    tag('p', boards.near(group)),
    boards.leaderboard(group),
    _with('Forgetting, utility and cost', trade),
    plots.numbers(group) if trade else None,
    _with('Each number against what oracles show', first),
    more('All the other numbers', svg.figure(others)) if others else None,
    _with('Margins of forgotten examples', margins),
    _with('How fast the forgotten is learned again', curves),
    boards.per_class(group),
    boards.settings(group),
  )


def _with(title: str, figure) -> Markup | None:
  if figure is None:
    return None
  return section(title, svg.figure(figure), level=3)


def _reading(summary: dict[str, Any]) -> Markup:
  return section(
    'How to read this',
    tag(
      'ul',
      tag(
        'li',
        'An oracle is a model retrained without the forgotten examples. '
        'Numbers are means over forget sets and models, with 95 % intervals '
        f'({summary.get("models", "?")} models a set; dear ones, such as MIA '
        f'and relearning, look at {summary.get("few", "?")}).',
      ),
      tag(
        'li',
        'The floor is what oracles show when compared with other oracles. ',
        tag('span', '=', class_='sign'),
        ' marks a value that oracles could have shown in every forget set: by '
        'that number the method cannot be told from retraining, and two such '
        'values do not differ. With few models little can be told, and more '
        'methods are marked.',
      ),
      tag(
        'li',
        'UA, MIA, RA and TA are differences to the oracle in points: error at '
        'what was forgotten, what an attacker takes for unseen, accuracy at '
        'what stays and at the test set. Neither sign is good; 0 is. So are, '
        'of bad data, the accuracy where it shows (Acc_corr), the success of a '
        'trigger (ASR) and how often swapped classes are mixed up (IC-ERR); '
        'oracles then never saw any of it, found or not. So are, of a '
        'regression, the mean absolute errors (MAE), in standard deviations.',
      ),
      tag(
        'li',
        'KLoM is how far the distributions of margins over models are apart '
        '(95th percentile of the points, nats). "Told apart" is how often an '
        'attacker tells unlearned from retrained models; .5 is a coin.',
      ),
      tag(
        'li',
        'Cost is part of that of retraining, without compiling. Methods were '
        'tuned with equal budgets on models and sets that are in no table.',
      ),
    ),
  )
