"""What a membership attacker sees of an example: one number a model.

Everything is [models, examples], from logits [models, examples, classes] and
labels [models, examples].
"""

import numpy as np
import scipy.special

from unlearn_jax.metrics import _outputs


def confidence(logits, y) -> np.ndarray:
  """Probability of the label."""
  return np.exp(_of_label(_outputs.log_probabilities(logits), y))


def entropy(logits, y) -> np.ndarray:
  """Entropy of the prediction; the label is not looked at."""
  return scipy.special.entr(_outputs.probabilities(logits)).sum(axis=-1)


def m_entropy(logits, y) -> np.ndarray:
  """Modified entropy: small only where the model is sure, and right.

  -(1 - p_y) log p_y - sum over other classes of p_c log(1 - p_c) (Song &
  Mittal, 2021). Public code has log p_c in the second term, and leaves out
  every class that is a label somewhere in the batch.
  """
  log_p = _outputs.log_probabilities(logits)
  log_rest = _log_of_the_rest(logits, log_p)
  terms = -np.exp(log_p) * log_rest
  mine = -np.exp(_of_label(log_rest, y)) * _of_label(log_p, y)
  return terms.sum(axis=-1) - _of_label(terms, y) + mine


def correctness(logits, y) -> np.ndarray:
  """1 where the largest logit is the label's, else 0."""
  return _outputs.right(logits, y).astype(np.float64)


FEATURES = {
  'confidence': confidence,
  'entropy': entropy,
  'm_entropy': m_entropy,
  'correctness': correctness,
}


def _of_label(values, y):
  return np.take_along_axis(values, y[..., None], axis=-1)[..., 0]


def _log_of_the_rest(logits, log_p):
  """log(1 - p) of each class; where p is nearly 1, from the other classes."""
  first = np.argmax(logits, axis=-1, keepdims=True)
  others = np.array(log_p)
  np.put_along_axis(others, first, -np.inf, axis=-1)
  of_first = scipy.special.logsumexp(others, axis=-1, keepdims=True)
  # Every other class has at most one half.
  rest = np.log1p(-np.exp(np.minimum(others, np.log(0.5))))
  np.put_along_axis(rest, first, of_first, axis=-1)
  return rest
