"""Exact systems in the same table: they forget whole, and pay in accuracy.

A system is trained on the rows of the arena, deletes the forget set, repairs,
and answers. Its oracle is the one model that retraining would give, so what the
table shows of it is what sharding costs; that nothing is left of what was
deleted is no matter of degree, and proven elsewhere (`audit.py --level=E2`).
"""

import contextlib
import pathlib
import shutil
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn_jax import clock, files
from unlearn_jax.exact import system as system_lib
from unlearn_jax.study import arena
from unlearn_jax.unlearners import _words

NAME = 'exact'  # of such an entry in the methods of a benchmark
_FROM_STUDY = ('model', 'optimizer', 'schedule', 'batch_size', 'epochs')


def unlearn(
  place: arena.Arena,
  study: Mapping[str, Any],
  method: Mapping[str, Any],
  forget: np.ndarray,
) -> tuple[arena.Evidence, _words.Record]:
  """Answers of a few systems, of one seed each, that were asked to forget.

  Args:
    place: rows, and how many systems.
    study: settings of the benchmark; models are trained as it says.
    method: fields of a `Recipe` beside those.
    forget: positions of what goes.
  """
  ids = place.ground.train.ids[forget]
  fields = {name: study[name] for name in _FROM_STUDY}
  fields |= {k: v for k, v in method.items() if k != 'name'}
  fields['data'] = _data(place)
  home = place.folder / 'exact' / files.digest([place.recipe, fields])[:24]
  logits, seconds, compiled = [], 0.0, clock.compiling()
  passed = []  # rows of each repair, as its last report has them

  def report(rows, total):
    del total
    passed[-1] = rows

  for seed in range(place.few):
    trained = home / str(seed)
    _train(trained, {**fields, 'seed': seed})
    copy = home / 'unlearned'
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(trained, copy)
    with contextlib.closing(system_lib.System.open(str(copy))) as system:
      began, compiling = time.monotonic(), clock.compiling()
      system.delete(ids.tolist())
      passed.append(0)
      system.repair(report)
      compiling = clock.compiling() - compiling
      seconds += time.monotonic() - began - compiling
      logits.append(system.predict(place.ground.x))
  shutil.rmtree(copy)
  record = _words.Record(
    seconds=seconds,
    compile_seconds=clock.compiling() - compiled,
    gradients=fields['epochs'] * sum(passed) / place.few,
    outputs=0.0,
  )
  return arena.Evidence(None, np.stack(logits), None), record


def _train(folder: pathlib.Path, recipe: Mapping[str, Any]) -> None:
  done = folder.with_suffix('.done')
  if done.exists():
    return
  shutil.rmtree(folder, ignore_errors=True)
  files.make_folder(folder.parent)
  with contextlib.closing(
    system_lib.System.create(str(folder), recipe)
  ) as system:
    system.train()
  done.touch()


def _data(place: arena.Arena) -> dict[str, Any]:
  """The rows of the arena as a file that a system can open again."""
  train = place.ground.train
  path = place.folder / f'{place.recipe[:24]}.npz'
  if not path.exists():
    files.make_folder(path.parent)
    new = path.with_name(f'new-{path.name}')
    np.savez(
      new,
      x=train.read(np.arange(len(train))),
      y=train.labels,
      id=train.ids,
      owner=train.owners,
    )
    new.replace(path)
  return {
    'name': 'npz',
    'file': str(path.absolute()),
    'task': train.task.kind,
    'num_classes': train.task.num_outputs if place.classes else None,
    'mean': np.asarray(train.mean).tolist(),
    'std': np.asarray(train.std).tolist(),
  }
