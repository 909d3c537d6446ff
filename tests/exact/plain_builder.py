"""A second builder of stages, written apart from the engine on purpose.

Plain loops over plain lists: no records, names, store, ledger or capacity, and
its own placement and order from Python integers. Only the step
and the model are the package's, because they are what is being repeated. If
the engine and this agree bit for bit, a mistake has to be in both.
"""

import hashlib
import json

import jax
import numpy as np

from unlearn_jax import augment as augment_lib
from unlearn_jax import keys, losses, registry, step
from unlearn_jax import optimizers as optimizers_lib

_MASK = 2**64 - 1


_TRAINING = ('model', 'optimizer', 'schedule', 'augment', 'label_smoothing')
_LOOPS = {}  # compiled once for all trials


def _blake(text, key=b''):
  return hashlib.blake2b(text.encode(), digest_size=8, key=key).digest()


def _mix(z):
  z = (z + 0x9E3779B97F4A7C15) & _MASK
  z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
  z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
  return z ^ (z >> 31)


def hash_id(name, salt):
  if isinstance(name, str):
    return int.from_bytes(_blake(name, _blake(salt)), 'little')
  first, second = (
    int.from_bytes(_blake(f'{salt}/{word}'), 'little') for word in (0, 1)
  )
  return _mix(_mix((name % 2**64) ^ first) ^ second)


def build(recipe, examples, prefixes, task):
  """{'shard:prefix': parameters} for every prefix of every shard.

  Args:
    recipe: the same plain dict the engine takes.
    examples: list of (id, owner, x, y), x normalized, in any order.
    prefixes: the slice orders, 0-based.
    task: of the data.
  """
  m, slices, seed = recipe['shards'], recipe['slices'], recipe['seed']
  salt = recipe.get('placement', {}).get('salt', '')
  model_args = dict(recipe['model'])
  model = registry.make(
    'models', model_args.pop('name'), num_outputs=task.num_outputs, **model_args
  )
  optimizer_args = dict(recipe['optimizer'])
  optimizer = optimizers_lib.make(optimizer_args.pop('name'), **optimizer_args)
  schedule = optimizers_lib.make_schedule(**recipe['schedule'])
  s3t = recipe['strategy'] == 's3t'
  built = {}
  for shard in range(m):
    mine = []
    for example in examples:
      h = hash_id(example[1], f'{salt}/place')
      if h % m == shard:
        mine.append((h // m % slices, *example))
    root = keys.root(seed)
    shape = recipe['input_shape']
    start = model.init(
      keys.stream(root, 'init', shard), np.zeros((1, *shape), np.float32)
    )
    for order in prefixes:
      params, carried = start, None
      for depth in range(1, len(order) + 1):
        prefix = tuple(order[:depth])
        label = f'{shard}:{"-".join(map(str, prefix))}'
        if label in built:
          params, carried = built[label]
          continue
        if s3t:
          params = model.blocks.begin(params, depth)
          trains = model.blocks.trainable(depth)
        else:
          trains = model.trainable
        text = [recipe[name] for name in ('strategy', *_TRAINING)]
        which = (json.dumps(text, sort_keys=True), s3t and depth)
        if which not in _LOOPS:
          augment = augment_lib.make(recipe['augment'])
          objective = step.supervised(model, losses.of_task(task), augment)
          one_step = step.make_step(
            objective, optimizer, schedule=schedule, trainable=trains
          )
          _LOOPS[which] = jax.jit(step.make_loop(one_step))
        rows = sorted(
          (row[1:] for row in mine if row[0] in prefix), key=lambda r: r[0]
        )
        if recipe.get('carry') and carried is not None:
          state = carried
        else:
          state = step.init_state(params, optimizer, trains)
        state = _run(
          _LOOPS[which], state, rows, recipe, shard, prefix, label, shape, task
        )
        params, carried = state.params, state
        built[label] = (params, carried)
  return {label: params for label, (params, _) in built.items()}


def _run(loop, state, rows, recipe, shard, prefix, label, shape, task):
  batch, seed = recipe['batch_size'], recipe['seed']
  plan = []
  for epoch in range(recipe['epochs']):
    salt = f'{seed}/{label}/epoch {epoch}'
    order = sorted(
      range(len(rows)), key=lambda i: (hash_id(rows[i][0], salt), rows[i][0])
    )
    for begin in range(0, len(order), batch):
      chosen = order[begin : begin + batch]
      plan.append(chosen + [-1] * (batch - len(chosen)))
  if not plan:
    return state
  words = [hash_id(row[0], 'id words') for row in rows]
  # Other sizes than the engine's, but always the same: one compilation.
  more = max(0, 101 - len(rows))
  table = step.Table(
    np.stack([row[2] for row in rows + rows[:1] * more]),
    np.stack([row[3] for row in rows + rows[:1] * more]),
    np.array(
      [[w >> 32, w & 0xFFFFFFFF] for w in words + words[:1] * more], np.uint32
    ),
  )
  steps = len(plan)
  plan += [[-1] * batch] * (50 - steps)
  key = keys.stream(keys.root(seed), 'stage', shard, *prefix)
  state, _ = loop(state, table, np.array(plan, np.int32), key, 0, steps, steps)
  return state
