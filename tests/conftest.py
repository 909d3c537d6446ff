"""Strict settings for every test.

Rank promotion is an error: a missing axis broadcasts into a wrong number
without a word. (Strict dtype promotion is not possible: optax itself mixes
integers and floats.)
"""

import jax

import unlearn_jax  # noqa: F401  (pins the environment before jax starts)

jax.config.update('jax_numpy_rank_promotion', 'raise')
