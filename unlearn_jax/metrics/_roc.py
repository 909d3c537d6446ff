"""How well scores tell two kinds apart, for many attacks at once.

Scores are [attacks, examples]; the first kind should score higher.
"""

import numpy as np
import scipy.stats

from unlearn_jax import errors


def auc(yes, no) -> np.ndarray:
  """[attacks] chance that a `yes` scores higher; a tie is half of one."""
  ranks = scipy.stats.rankdata(np.concatenate([yes, no], axis=1), axis=1)
  many, others = yes.shape[1], no.shape[1]
  above = ranks[:, :many].sum(axis=1) - many * (many + 1) / 2
  return above / (many * others)


def tpr(yes, no, fpr: float) -> np.ndarray:
  """[attacks] largest share of `yes` found with at most `fpr` false alarms."""
  allowed = int(fpr * no.shape[1] + 1e-9)
  if not allowed:
    raise errors.DataError(
      f'a false positive rate of {fpr} needs {1 / fpr if fpr else np.inf:.0f} '
      f'never seen answers, there are {no.shape[1]}: ask for larger ones'
    )
  cut = np.sort(no, axis=1)[:, -allowed - 1, None]
  return np.mean(yes > cut, axis=1)
