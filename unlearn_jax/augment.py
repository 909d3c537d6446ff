"""Random changes of images, each example from a key of its own.

An augmentation maps (keys [batch], images [batch, h, w, c]) to images. Because
the key belongs to the example, what happens to it does not depend on who else
is in the batch.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unlearn_jax import errors, keys

Augment = Callable[[jax.Array, jax.Array], jax.Array]


def make(options: Mapping[str, Any]) -> Augment | None:
  """The changes that are asked for, such as `{'shift': 2, 'flip': True}`.

  Flips come before shifts whatever the order of the options: a mapping that
  went through a file may come back sorted. None when nothing is asked.
  """
  for name, value in options.items():
    errors.check_choice('augmentation', name, _AUGMENTS)
    _check(name, value)
  chosen = [(name, options[name]) for name in _AUGMENTS if options.get(name)]
  if not chosen:
    return None

  def augment(row_keys, x):
    def one(key, image):
      for name, value in chosen:
        image = _AUGMENTS[name](keys.stream(key, name), image, value)
      return image

    return jax.vmap(one)(row_keys, x)

  return augment


def _check(name: str, value: Any) -> None:
  if name == 'flip':
    if not isinstance(value, bool | np.bool_):
      raise errors.ConfigError(f'flip is True or False, got {value!r}')
  elif (
    isinstance(value, bool | np.bool_)
    or not isinstance(value, int | np.integer)
    or value < 0
  ):
    raise errors.ConfigError(
      f'{name} is a whole number of pixels, at least 0, got {value!r}'
    )


def _shift(key, image, pixels):
  """Moves the image by up to `pixels` in each direction; zeros come in."""
  padded = jnp.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)))
  start = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
  return jax.lax.dynamic_slice(padded, (*start, 0), image.shape)


def _flip(key, image, _):
  """Mirrors left and right, every other time."""
  return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


_AUGMENTS = {'flip': _flip, 'shift': _shift}  # in this order
