"""What was done to a system: its own history, or the steps of a quickstart."""

import pathlib
from collections.abc import Mapping
from typing import Any

from unlearn_jax.study.report import provenance, tables


def read(
  home: pathlib.Path, folder: pathlib.Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
  """What was done, oldest first; and of a quickstart its moments.

  A system that was used otherwise, or since, speaks for itself.
  """
  lines = provenance.read_lines(home / 'history.jsonl')
  tour = provenance.read(folder / 'quickstart.json')
  if lines or not tour:
    return lines, []
  return _told(tour), _moments(tour)


def _told(tour: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The steps of a quickstart as those of a history."""
  known = {
    'train': {'trained': tour.get('stages')},
    'delete': {
      'gone': tour.get('stages_gone'),
      'deleted': len(tour.get('forgotten', ())),
      'seconds_to_non_use': tour.get('seconds_to_non_use'),
    },
    'repair': {'trained': tour.get('stages_repaired')},
    'audit E3': {
      'level': 'E3',
      'passed': tour.get('passed'),
      'of': tour.get('bit_identical'),
    },
  }
  return [
    {
      'what': step['step'],
      'depths': step['served_depths'],
      'accuracy': step['accuracy'],
      'seconds': step['seconds'],
      **known.get(step['step'], {}),
    }
    for step in tour.get('steps', ())
  ]


def _moments(tour: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The stages once a quickstart had trained, deleted and repaired.

  As `system_plots.of_stages` draws them; none where it left no word of them.
  """
  if 'after' not in tour:
    return []
  timed = {step['step']: step for step in tour['steps']}
  count, gone = tour['stages'], tour['stages_gone']

  def moment(step: str, title: str, below: str) -> dict[str, Any]:
    right = timed[step]['accuracy']
    scored = '' if right is None else f': accuracy {100 * right:.1f} %'
    after = tour['after'][step]
    # What a repair has trained stands out; at first everything is new.
    return {
      'title': f'{title}{scored}',
      'below': below,
      **after,
      'new': after['new'] if step == 'repair' else (),
    }

  seconds = tables.number(timed['train']['seconds'])
  unused = tables.number(tour['seconds_to_non_use'])
  return [
    moment('train', '1. Trained', f'{count} stages, trained in {seconds} s'),
    moment(
      'delete',
      f'2. {len(tour["forgotten"])} examples deleted',
      f'{gone} stages gone after {unused} s, {count - gone} untouched',
    ),
    moment(
      'repair',
      '3. Repaired',
      f'{tour["bit_identical"]} bit-equal to a fresh build',
    ),
  ]
