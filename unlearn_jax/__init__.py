"""Delete training examples from trained models, and measure what is left.

Importing the package only pins the settings that XLA reads once at start-up
(see `pins.py`); everything else is imported where it is used.
"""

from unlearn_jax import pins

pins.apply()

__version__ = '0.1.0'
