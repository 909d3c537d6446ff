"""Learns from two teachers: the model as it was, and one that knows nothing.

After Chundawat et al. (AAAI 2023). On what goes the student is to answer as a
network with random weights does, on a part of what stays as before. No label
is read. The published loss is averaged over classes too; here it is the
divergence of an example, whatever the number of classes. Teachers answer each
example once, without augmentation.
"""

from unlearn_jax import keys
from unlearn_jax.unlearners import _door, _looks, _passes, _teaching

READS = ('forget.x', 'retain.x')
TUNED = {'learning_rate': (1e-5, 1e-2)}


def unlearn(
  model,
  params,
  data,
  key,
  *,
  learning_rate: float = 1e-4,
  part: float = 0.3,
  temperature: float = 1.0,
  epochs: int = 1,
  batch_size: int = 64,
):
  """Distillation on what goes and a part of what stays, mixed.

  Args:
    learning_rate: of Adam; 1e-4 as published.
    part: of what stays that is looked at.
    temperature: softens all answers.
    epochs: passes over both; 1 as published.
    batch_size: rows of a step.
  """
  _passes.check_task(data, 'classification')
  stays = _passes.some(data.retain, part, keys.stream(key, 'part'))
  random = _passes.fresh(
    model, params, keys.stream(key, 'teacher'), data.forget.x
  )
  rows = _passes.join(
    *(
      rows._replace(y=_looks.outputs(model, teacher, data, rows))
      for rows, teacher in ((data.forget, random), (stays, params))
    )
  )

  def apart(logits, teacher):
    return _teaching.divergence(logits, teacher, temperature)

  return _passes.descend(
    _passes.trainer(model, data, _passes.adam(learning_rate)),
    params,
    rows,
    _passes.moving(model, apart, data),
    key,
    epochs=epochs,
    batch_size=batch_size,
  )


make = _door.door(unlearn, READS)
