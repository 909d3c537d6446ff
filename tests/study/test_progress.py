"""Progress: sparse plain lines in logs, a bar on a terminal, quiet stdout."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import textwrap

import pytest
from absl import logging

from unlearn_jax.study import progress


class _Clock:
  def __init__(self, monkeypatch):
    self.now = 100.0
    monkeypatch.setattr(progress.time, 'monotonic', lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
  monkeypatch.setattr(progress.sys.stderr, 'isatty', lambda: False)
  return _Clock(monkeypatch)


@pytest.fixture
def lines(monkeypatch):
  said = []
  monkeypatch.setattr(logging, 'info', lambda form, *a: said.append(form % a))
  return said


def test_a_line_says_it_all_and_the_first_update_is_not_in_the_rate(
  clock, lines
):
  bar = progress.Progress(3000, 'train', 'steps')
  clock.now += 60  # compilation
  bar.update(200, loss=9.0)
  assert lines == ['train 6% 200/3000 steps, loss 9']
  clock.now += 10
  bar.update(1000, loss=0.41)
  assert lines[1:] == [
    'train 40% 1200/3000 steps, 100 steps/s, ETA 0:00:18, loss 0.41'
  ]


def test_at_most_one_line_in_ten_seconds(clock, lines):
  with progress.Progress(1000) as bar:
    for _ in range(1000):
      clock.now += 0.0501
      bar.update()
  assert 5 <= len(lines) <= 6
  assert lines[-1].startswith('train 100% 1000/1000 steps, 20 steps/s')


def test_a_short_loop_says_nothing_and_reads_no_value(clock, lines):
  class Unread:
    def __float__(self):
      raise AssertionError('a value was read that is not shown')

  with progress.Progress(10) as bar:
    for _ in range(10):
      bar.update(loss=Unread())
  assert lines == []


def test_what_was_done_before_counts_for_no_rate(clock, lines):
  bar = progress.Progress(100, 'fit', 'stages', done=50)
  clock.now += 10
  bar.update(1)
  clock.now += 10
  bar.update(5)
  assert lines[-1] == 'fit 56% 56/100 stages, 0.5 stages/s, ETA 0:01:28'


_LOOP = """
  from absl import app
  from unlearn_jax.study import progress
  progress._LINE_EVERY = progress._BAR_EVERY = 0.0
  def main(_):
    with progress.Progress(4, 'train', 'steps') as bar:
      for step in range(4):
        bar.update(loss=1 / (step + 1))
    print('result')
  app.run(main)
"""


def _child(**streams) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-W', 'error', '-c', textwrap.dedent(_LOOP)],
    stdout=subprocess.PIPE,
    **streams,
  )


def test_a_pipe_gets_lines_on_stderr():
  out, err = _child(stderr=subprocess.PIPE).communicate(timeout=60)
  assert out == b'result\n'
  assert b'\r' not in err and b'train 50% 2/4 steps' in err


def test_a_terminal_gets_a_bar():
  ours, theirs = pty.openpty()
  size = struct.pack('4H', 24, 100, 0, 0)  # A bar fits its terminal.
  fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
  child = _child(stderr=theirs)
  os.close(theirs)
  out, _ = child.communicate(timeout=60)
  shown = os.read(ours, 1 << 16)
  os.close(ours)
  assert child.returncode == 0 and out == b'result\n'
  assert b'\r' in shown and b'4/4 steps' in shown and b'loss 0.25' in shown
