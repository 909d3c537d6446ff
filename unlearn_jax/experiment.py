"""The composition root: configs in, objects built, runs done.

Binaries call its functions with a ConfigDict; what is below takes plain
arguments.
"""

import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from unlearn_jax import errors, fitting, operations, tour, trees
from unlearn_jax.models import _vit_weights
from unlearn_jax.study import (
  attribution,
  figures,
  heatmap,
  leaderboard,
  matching,
  planning,
)
from unlearn_jax.study import benchmark as benchmark_lib
from unlearn_jax.study import leaks as leaks_lib
from unlearn_jax.study import live as live_lib
from unlearn_jax.study import writer as writer_lib

ConfigDict = ml_collections.ConfigDict
fit = fitting.fit


def train(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Creates and trains a system, or goes on with the one that is there."""
  return operations.train(config.to_dict(), workdir)


def quickstart(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Trains a system, deletes from it, repairs it and proves it."""
  return tour.run(config.to_dict(), workdir)


def benchmark(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """The study that the config is of: of matching, or of every method."""
  _check_study(config, 'matching', 'benchmark')
  if config.study == 'matching':
    return _matching(config, workdir)
  with _study_in(workdir, 'benchmark', config) as writer:
    summary = benchmark_lib.run(config.to_dict(), workdir)
    writer.summary(summary)
  return summary


def _matching(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """How near unlearned models come to oracles; draws the pictures too."""
  with _study_in(workdir, 'benchmark', config) as writer:
    summary = matching.run(config.to_dict(), workdir)
    found = matching.pictured(workdir, config.seeds[0])
    pictures = {
      'picture': writer.workdir / 'benchmark.png',
      'klom_picture': writer.workdir / 'klom.png',
    }
    figures.margins(found['points'], pictures['picture'])
    figures.klom(found['curves'], pictures['klom_picture'])
    summary |= {name: str(path) for name, path in pictures.items()}
    writer.summary(summary)
  return summary


def attribute(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Estimates datamodels and scores attributions by LDS."""
  _check_study(config, 'matching')
  with _study_in(workdir, 'datamodels', config) as writer:
    summary = attribution.run(config.to_dict(), workdir)
    writer.summary(summary)
  return summary


def leaks(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Which metrics notice planted leaks; draws the picture too."""
  _check_study(config, 'leaks')
  with _study_in(workdir, 'leaks', config) as writer:
    summary = leaks_lib.run(config.to_dict(), workdir)
    shares: dict[str, Any] = {}
    for row in summary['rows']:
      of_set = shares.setdefault(row['forget set'], {})
      of_set.setdefault(row['metric'], {})[row['leak']] = row['power']
    picture = writer.workdir / 'leaks.png'
    heatmap.draw(shares, picture, label='share of the trials noticed, in %')
    summary['picture'] = str(picture)
    writer.summary(summary)
  return summary


def plan(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Proposes shards, slices, sequences and when to repair."""
  _check_study(config, 'plan')
  return planning.run(config.to_dict(), workdir)


def live(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Follows systems that serve while requests to delete come."""
  _check_study(config, 'plan')
  return live_lib.run(config.to_dict(), workdir)


def _check_study(config: ConfigDict, *wanted: str) -> None:
  """Refuses the config of another binary, before a directory is made."""
  if config.get('study') not in wanted:
    raise errors.ConfigError(
      f'the config is of a study of {" or ".join(wanted)}, got one of '
      f'{config.get("study", "no study")}'
    )


def _study_in(
  workdir: str, binary: str, config: ConfigDict
) -> writer_lib.Writer:
  """The directory of a study, which may go on with other settings.

  What a study keeps there says itself what it was made of.
  """
  return writer_lib.Writer(
    workdir, binary=binary, config=config.to_dict(), overwrite=True
  )


def shown(summary: Mapping[str, Any]) -> list[dict[str, str]]:
  """The rows of a benchmark as a person reads them."""
  if summary['study'] == 'benchmark':
    return leaderboard.shown(summary['leaderboard'])

  def cell(found):
    mean, low, high = (f'{found[k]:.2f}' for k in ('mean', 'low', 'high'))
    return mean if low == high else f'{mean} ({low} to {high})'

  columns = (*matching.SPLITS, matching.GAME)
  return [
    {
      'forget set': row['forget set'],
      'method': row['method'],
      **{name: cell(row[name]) for name in columns},
    }
    for row in summary['rows']
  ]


def pretrain(
  config: ConfigDict,
  workdir: str,
  output: str,
  *,
  argv: Sequence[str] = (),
  overwrite: bool = False,
) -> dict[str, Any]:
  """Fits a vision transformer and writes all but its head as safetensors."""
  if config.model.name != 'vit':
    raise errors.ConfigError(
      f'only a vit can be exported as a backbone, got {config.model.name!r}'
    )
  if not output.endswith('.safetensors'):
    raise errors.ConfigError(f'output is a .safetensors file, got {output!r}')
  if not pathlib.Path(output).absolute().parent.is_dir():
    raise errors.ConfigError(f'there is no folder to write {output} into')

  def export(summary, params):
    backbone = trees.partition(params, lambda p: not p.startswith('head/'))[0]
    facts = {
      'digest': trees.digest(backbone),
      'seed': str(config.seed),
      'command': _public_command(argv),
      'accuracy': f'{summary["test"]["accuracy"]:.4f}',
    }
    _vit_weights.save(output, params, facts)
    summary |= {'output': output, 'backbone_digest': facts['digest']}

  summary, _ = fit(
    config,
    workdir,
    binary='pretrain',
    argv=argv,
    overwrite=overwrite,
    finish=export,
  )
  return summary


def _public_command(argv: Sequence[str]) -> str:
  """The command line as others may read it, without places on this machine.

  Where it wrote is left out. A path from the root or the home folder becomes
  the last word of its flag in capitals; of a config its file name is kept.
  """
  words = []
  for word in argv[1:]:
    if words and '=' not in words[-1] and not word.startswith('-'):
      words[-1] += f'={word}'  # --flag value
    else:
      words.append(word)
  kept = [f'experiments/{pathlib.Path(argv[0]).name}'] if argv else []
  for word in words:
    flag, _, value = word.partition('=')
    if flag.lstrip('-') in ('workdir', 'output', 'overwrite', 'nooverwrite'):
      continue
    if value.startswith(('/', '~')) or '..' in value:
      name = flag.lstrip('-').split('.')[-1].upper()
      value = pathlib.Path(value).name if name == 'CONFIG' else name
    kept.append(f'{flag}={value}' if value else flag)
  return shlex.join(kept)
