"""How much of the long tests is run: all, or what fits a check from nothing."""

import os

# Thousandths of every long list.
TRIALS = int(os.environ.get('UNLEARN_JAX_TRIALS', 1000))


def share(count: int) -> int:
  """That part of `count`, at least one."""
  return max(1, count * TRIALS // 1000)
