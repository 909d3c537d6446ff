"""How far a long loop is: a bar on a terminal, plain lines in a log.

Everything goes to stderr, so the output of a program can be piped.
"""

import contextlib
import datetime
import sys
import time
from typing import Any

from absl import logging

_LINE_EVERY, _BAR_EVERY = 10.0, 0.2  # seconds


class Progress:
  """Counts up to `total`; a context manager.

  The first update holds the compilation and is left out of the rate. A loop
  that is over before the first line is due leaves none.
  """

  def __init__(
    self, total: int, what: str = 'train', unit: str = 'steps', done: int = 0
  ):
    """`done` is what an earlier run has finished; it counts for no rate."""
    self._total, self._what, self._unit = total, what, unit
    self._done = done
    self._values: dict[str, Any] = {}
    self._warm: tuple[float, int] | None = None  # after the first update
    self._bar = self._make_bar() if sys.stderr.isatty() else None
    self._every = _BAR_EVERY if self._bar else _LINE_EVERY
    self._shown_at = time.monotonic()
    self._lines = 0

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def update(self, n: int = 1, **values: Any) -> None:
    """`n` more are done. Values are read only when they are shown."""
    self._done += n
    self._values.update(values)
    now = time.monotonic()
    if self._warm is None:
      self._warm = (now, self._done)
    if now - self._shown_at >= self._every:
      self._show(now)

  def close(self) -> None:
    """Shows where it stands at the end, if anything was shown before."""
    if self._bar or self._lines:
      self._show(time.monotonic())
    if self._bar:
      self._bar.close()

  def _show(self, now: float) -> None:
    self._shown_at = now
    extras = self._pace(now)
    extras += [f'{name} {float(v):.4g}' for name, v in self._values.items()]
    if self._bar:
      self._bar.n = self._done
      self._bar.set_postfix_str(', '.join(extras))
      return
    percent = 100 * self._done // max(self._total, 1)
    head = f'{self._what} {percent}% {self._done}/{self._total} {self._unit}'
    logging.info('%s', ', '.join([head, *extras]))
    self._lines += 1

  def _pace(self, now: float) -> list[str]:
    since, before = self._warm or (now, self._done)
    if self._done == before or now <= since:
      return []
    rate = (self._done - before) / (now - since)
    left = round(max(self._total - self._done, 0) / rate)
    eta = datetime.timedelta(seconds=left)
    shown = f'{rate:.0f}' if rate >= 100 else f'{rate:.3g}'
    return [f'{shown} {self._unit}/s', f'ETA {eta}']

  def _make_bar(self):
    import tqdm

    return tqdm.tqdm(
      total=self._total,
      initial=self._done,
      desc=self._what,
      # tqdm's own rate would count the compilation.
      bar_format='{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} '
      + self._unit
      + '{postfix}',
    )


class Reporter:
  """Shows how far the exact engine is, in rows of an epoch; called by it."""

  def __init__(self, what: str):
    self._what = what
    self._stack = contextlib.ExitStack()
    self._bar, self._total, self._done = None, None, 0

  def __enter__(self) -> 'Reporter':
    return self

  def __exit__(self, *unused) -> None:
    self._stack.close()

  def __call__(self, done: int, total: int) -> None:
    if total != self._total:  # the first call, or a request made a new plan
      self._stack.close()
      self._total, self._done = total, 0
      bar = Progress(total, self._what, 'rows')
      self._bar = self._stack.enter_context(bar)
    self._bar.update(done - self._done)
    self._done = done
