"""Shares as a picture: a row for each metric, a column for each case."""

import pathlib
from collections.abc import Mapping

import numpy as np


def draw(
  panels: Mapping[str, Mapping[str, Mapping[str, float]]],
  path: pathlib.Path,
  *,
  label: str,
) -> None:
  """One panel beside the other, {title: {row: {column: share}}}.

  The number stands in each cell, so the color is not all there is to read.
  """
  # Here, not above: it takes half a second to import.
  from matplotlib import figure

  rows = list(dict.fromkeys(r for found in panels.values() for r in found))
  columns = [list(next(iter(found.values()))) for found in panels.values()]
  widths = list(map(len, columns))
  drawn = figure.Figure(
    figsize=(0.68 * sum(widths) + 3.4, 0.29 * len(rows) + 1.7),
    layout='constrained',
  )
  axes = drawn.subplots(
    1, len(panels), squeeze=False, sharey=True, width_ratios=widths
  )[0]
  for axis, names, (title, found) in zip(
    axes, columns, panels.items(), strict=True
  ):
    shares = np.array(
      [[found.get(r, {}).get(c, np.nan) for c in names] for r in rows]
    )
    # Cividis is read alike with and without color vision.
    image = axis.imshow(
      100 * shares, cmap='cividis', vmin=0, vmax=100, aspect='auto'
    )
    for (y, x), share in np.ndenumerate(shares):
      if np.isfinite(share):
        color = 'black' if share > 0.55 else 'white'
        text = f'{100 * share:.0f}'
        axis.text(x, y, text, ha='center', va='center', color=color, fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.set_xticks(range(len(names)), names, rotation=40, ha='right')
    axis.set_yticks(range(len(rows)), rows)
    axis.tick_params(labelsize=8, length=0)
    for edge in axis.spines.values():
      edge.set_visible(False)
  bar = drawn.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
  bar.set_label(label, fontsize=8)
  bar.ax.tick_params(labelsize=8)
  drawn.savefig(path, dpi=120)
