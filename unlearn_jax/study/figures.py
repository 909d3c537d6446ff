"""Pictures of what a study has found."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

# Colors that the color-blind tell apart (Okabe and Ito, 2008); their yellow is
# too pale for a line.
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _RED, _PURPLE = (
  '#000000',
  '#E69F00',
  '#56B4E9',
  '#009E73',
  '#0072B2',
  '#D55E00',
  '#CC79A7',
)
_FIXED = {'oracles': _BLACK, 'fresh oracles': _BLACK, 'do nothing': _RED}
_OTHERS = (_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY)
_LABELS = {'fresh oracles': 'fresh oracles: the floor'}
_DASHES = ('-', '--', ':')  # a second sign, where colors are too few
_BINS = 24


def margins(
  sets: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
  path: pathlib.Path,
  methods: Sequence[str] = ('do nothing', 'dmm, Gauss-Newton'),
) -> None:
  """Margins of forgotten points, before, after and in oracles.

  A row of panels for each forget set, a panel for each point; `sets` is
  `points` of `matching.pictured`.
  """
  # Here, not above: it takes half a second to import.
  from matplotlib import figure

  count = max(len(found['oracles']) for found in sets.values())
  drawn = figure.Figure(
    figsize=(3 * count, 2.4 * len(sets) + 0.3), layout='constrained'
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
          color=_FIXED.get(method, _BLUE),
          label=method,
        )
      panel.set_title(f'{name}, forgotten point {i + 1}', fontsize=9)
      panel.set_xlabel('margin', fontsize=8)
      panel.tick_params(labelsize=7)
    row[0].set_ylabel('models', fontsize=8)
  _legend(drawn, panels[0][0])
  drawn.savefig(path, dpi=110)


def klom(
  sets: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
  path: pathlib.Path,
) -> None:
  """KLoM of the points of each split, in order, against the floor.

  A row of panels for each forget set, a panel for each split; `sets` is
  `curves` of `matching.pictured`. Where a line crosses the dotted one stands
  the number of the table.
  """
  from matplotlib import figure

  first = next(iter(sets.values()))
  splits = list(first['fresh oracles'])
  drawn = figure.Figure(
    figsize=(3.2 * len(splits), 2.8 * len(sets) + 0.9), layout='constrained'
  )
  panels = drawn.subplots(
    len(sets), len(splits), squeeze=False, sharex=True, sharey=True
  )
  styles = _styles([name for name in first if name not in _FIXED])
  for row, (name, rows) in zip(panels, sets.items(), strict=True):
    for panel, split in zip(row, splits, strict=True):
      for method, of_method in rows.items():
        values = np.asarray(of_method[split], float)
        share = np.linspace(0, 100, len(values))
        label = _LABELS.get(method, method)
        panel.plot(share, values, label=label, **styles[method])
      floor = np.asarray(rows['fresh oracles'][split], float)
      share = np.linspace(0, 100, len(floor))
      panel.fill_between(share, floor, color=_BLACK, alpha=0.12, linewidth=0)
      panel.axvline(95, color='0.5', linestyle=':', linewidth=0.8)
      panel.set_xticks([0, 25, 50, 75, 95])
      panel.set_title(f'{name}: {split}', fontsize=9)
      panel.set_yscale('symlog', linthresh=0.5)
      panel.set_yticks([0, 0.25, 0.5, 1, 2, 5, 10])
      panel.set_yticklabels(['0', '0.25', '0.5', '1', '2', '5', '10'])
      panel.minorticks_off()
      panel.set_xlim(0, 100)
      panel.set_ylim(0, 12)
      panel.tick_params(labelsize=7)
    row[0].set_ylabel('KLoM (nats)', fontsize=8)
  for panel in panels[-1]:
    panel.set_xlabel('% of the points, in order', fontsize=8)
  _legend(drawn, panels[0][0])
  drawn.savefig(path, dpi=110)


def _legend(drawn, panel) -> None:
  """One for all panels, below them, where it hides nothing."""
  handles, labels = panel.get_legend_handles_labels()
  drawn.legend(handles, labels, loc='outside lower center', ncols=4, fontsize=8)


def _styles(methods: Sequence[str]) -> dict[str, dict]:
  """A line for each method, and those of the two rows that frame them."""
  styles = {
    'fresh oracles': {'color': _BLACK, 'linewidth': 2.2},
    'do nothing': {'color': _RED, 'linewidth': 2.2},
  }
  for i, method in enumerate(methods):
    turn, color = divmod(i, len(_OTHERS))
    styles[method] = {
      'color': _OTHERS[color],
      'linestyle': _DASHES[turn % len(_DASHES)],
      'linewidth': 1.4,
    }
  return styles
