"""Label-agnostic forgetting, then the head trained on labels of what stays.

After Shen et al. (ICLR 2024), who call it LAF+R; see `laf`.
"""

from unlearn_jax import keys
from unlearn_jax.unlearners import _door, _laf, _passes

READS = ('forget.x', 'retain.x', 'retain.y')
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
  head_learning_rate: float = 1e-3,
  head_epochs: int = 1,
  epochs: int = 20,
  batch_size: int = 64,
):
  """As `laf`, then Adam on the head.

  Args:
    learning_rate: of Adam that moves features off what goes.
    align_learning_rate: of Adam that brings those of what stays back.
    temperature: how little single rows of what goes count in that.
    latent: numbers in the middle of the autoencoders of features.
    vae_epochs: passes of these over the features.
    head_learning_rate: of Adam on the head; chosen here.
    head_epochs: passes of the head over what stays; chosen here.
    epochs: passes over what stays before.
    batch_size: rows that stay in a batch, and as many that go.
  """
  moved = _laf.forgotten(
    model,
    params,
    data,
    keys.stream(key, 'laf'),
    learning_rate=learning_rate,
    align_learning_rate=align_learning_rate,
    temperature=temperature,
    latent=latent,
    vae_epochs=vae_epochs,
    epochs=epochs,
    batch_size=batch_size,
  )

  def in_head(path):
    return model.trainable(path) and path.startswith('head')

  return _passes.descend(
    _passes.trainer(
      model, data, _passes.adam(head_learning_rate), trainable=in_head
    ),
    moved,
    data.retain,
    _passes.still(model, data.loss),
    keys.stream(key, 'head'),
    epochs=head_epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
