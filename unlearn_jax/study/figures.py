"""Pictures of what a study has found."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

_COLORS = {'oracles': 'black', 'do nothing': 'tab:red'}
_BINS = 24


def margins(
  sets: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
  path: pathlib.Path,
  methods: Sequence[str] = ('do nothing', 'dmm, Gauss-Newton'),
) -> None:
  """Margins of forgotten points, before, after and in oracles.

  A row of panels for each forget set, a panel for each point; `sets` is as
  `matching.points` has it.
  """
  # Here, not above: it takes half a second to import.
  from matplotlib import figure

  count = max(len(found['oracles']) for found in sets.values())
  drawn = figure.Figure(
    figsize=(3 * count, 2.4 * len(sets)), layout='constrained'
  )
  panels = drawn.subplots(len(sets), count, squeeze=False)
  for row, (name, found) in zip(panels, sets.items(), strict=True):
    shown = [m for m in ('oracles', *methods) if m in found]
    for i, panel in enumerate(row[: len(found['oracles'])]):
      values = {method: np.asarray(found[method][i], float) for method in shown}
      every = np.concatenate(list(values.values()))
      edges = np.linspace(every.min(), every.max(), _BINS)
      for method, of_method in values.items():
        panel.hist(
          of_method,
          edges,
          histtype='step' if method == 'oracles' else 'stepfilled',
          alpha=1.0 if method == 'oracles' else 0.5,
          color=_COLORS.get(method, 'tab:blue'),
          label=method,
        )
      panel.set_title(f'{name}, forgotten point {i + 1}', fontsize=9)
      panel.set_xlabel('margin', fontsize=8)
      panel.tick_params(labelsize=7)
    row[0].set_ylabel('models', fontsize=8)
  panels[0][0].legend(fontsize=7)
  drawn.savefig(path, dpi=110)
