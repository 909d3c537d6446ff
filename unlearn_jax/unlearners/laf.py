"""Label-agnostic forgetting: works on features, and reads no label.

After Shen et al. (ICLR 2024). What stays is read whole in every pass, beside it
what goes again and again; the released code stops at the shorter of the two.
"""

from unlearn_jax.unlearners import _door, _laf

READS = ('forget.x', 'retain.x')
TUNED = {'learning_rate': (1e-6, 1e-2), 'align_learning_rate': (1e-5, 1e-2)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 5e-5,
  align_learning_rate: float = 1e-4,
  temperature: float = 5.0,
  latent: int = 8,
  vae_epochs: int = 10,
  epochs: int = 20,
  batch_size: int = 64,
):
  """The defaults are published for a small convolutional net.

  Args:
    learning_rate: of Adam that moves features off what goes.
    align_learning_rate: of Adam that brings those of what stays back.
    temperature: how little single rows of what goes count in that; 5 for random
      rows, 20 for a class or for wrong labels.
    latent: numbers in the middle of the autoencoders of features.
    vae_epochs: passes of these over the features.
    epochs: passes over what stays.
    batch_size: rows that stay in a batch, and as many that go.
  """
  return _laf.forgotten(
    model,
    params,
    data,
    key,
    learning_rate=learning_rate,
    align_learning_rate=align_learning_rate,
    temperature=temperature,
    latent=latent,
    vae_epochs=vae_epochs,
    epochs=epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
