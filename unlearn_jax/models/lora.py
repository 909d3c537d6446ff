"""Low-rank adapters in blocks of layers, each with a head of its own.

The base model is a `vit`; in principle any whose layers are named `layer_<i>`,
whose projections are 2-D (`_layers.Projection`) and whose last one is `head`.
It is frozen. Its layers are grouped into `blocks` of equal size
from the output down: block 1 holds the top layers. A fit of stage k moves only
block k and its head; switching blocks off is an array, so one compiled program
serves every depth, and what is off leaves no bit behind.

Two heads are exact under truncation, because what stage k learned stands in
leaves of its own:

- 'per_stage': a full head for each stage; the deepest active one answers;
- 'additive': one frozen head plus a difference for each stage, summed in order
  over the active stages.

Adapters follow Hu et al. (2022), the scale alpha / sqrt(rank) Kalajdzievski
(2023), the top-to-bottom blocks S3T (ICLR 2025).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from unlearn_jax import errors, keys, registry, trees, types
from unlearn_jax.models import _layers

TINY = {
  'blocks': 2,
  'rank': 2,
  'base': {
    'name': 'vit',
    'patch': 4,
    'width': 16,
    'depth': 2,
    'heads': 2,
    'mlp_dim': 32,
  },
}
HEADS = ('per_stage', 'additive')
_PROJECTION = re.compile(r'layer_(\d+)/(?:.*/)?(\w+)/kernel')


def make(
  *,
  num_outputs: int,
  base: Mapping[str, Any],
  blocks: int = 4,
  rank: int = 8,
  alpha: float = 16.0,
  targets: Sequence[str] = ('query', 'value'),
  head: Literal['per_stage', 'additive'] = 'per_stage',
) -> types.Model:
  """The model.

  Args:
    num_outputs: classes, or targets of a regression.
    base: name and arguments of the base model.
    blocks: number of blocks. Layers that do not fill a block, at the bottom,
      get no adapter.
    rank: of each adapter.
    alpha: strength; an adapter adds alpha / sqrt(rank) * x a b.
    targets: names of the adapted projections.
    head: 'per_stage' or 'additive'.
  """
  errors.check_choice('head of lora', head, HEADS)
  for field, value in (('blocks', blocks), ('rank', rank)):
    if value < 1:
      raise errors.ConfigError(f'{field} of lora is at least 1, got {value}')
  base = dict(base)
  if 'name' not in base or 'num_outputs' in base:
    raise errors.ConfigError(
      f'base of lora has a name and no num_outputs, got {base}'
    )
  name = base.pop('name')
  base_model = registry.make('models', name, num_outputs=num_outputs, **base)
  scale = alpha / math.sqrt(rank)

  def init(key, x):
    frozen = dict(base_model.init(keys.stream(key, 'base'), x))
    if 'head' not in frozen:
      raise errors.ConfigError(f'{name} cannot be the base of lora: no head')
    head_0 = frozen.pop('head')
    return {
      'base': frozen,
      'adapters': _init_adapters(
        keys.stream(key, 'adapters'), frozen, blocks, rank, targets, name
      ),
      'heads': _init_heads(head, head_0, blocks),
      'switch': jnp.ones((blocks,), bool),
    }

  def forward(params, x, *, key=None, train=False, weight=None):
    on = params['switch']
    kernel, bias = _active_head(params['heads'], on, head)
    out = base_model.forward(
      {**params['base'], 'head': {'kernel': kernel, 'bias': bias}},
      x,
      key=key,
      train=train,
      weight=weight,
      adapters=_adapters(params['adapters'], on, scale),
    )
    return out._replace(stats=None)

  return types.Model(
    init=init,
    forward=forward,
    trainable=lambda path: path.startswith(('adapters/', 'heads/stage_')),
    blocks=types.Blocks(blocks, block_paths, at_depth, begin),
  )


def block_paths(block: int) -> trees.Predicate:
  """What stage `block` (from 1) trains: its adapters and its head."""
  mine = (f'adapters/block_{block}/', f'heads/stage_{block}/')
  return lambda path: path.startswith(mine)


def at_depth(params: types.Params, depth) -> types.Params:
  """The model with blocks 1..depth active; `depth` may be traced."""
  on = jnp.arange(len(params['switch'])) < depth
  return {**params, 'switch': on}


def begin(params: types.Params, block: int) -> types.Params:
  """Blocks 1..block active; a full head goes on from that of the block before."""
  params = at_depth(params, block)
  if block == 1 or 'frozen' in params['heads']:
    return params
  before = params['heads'][f'stage_{block - 1}']
  return {**params, 'heads': {**params['heads'], f'stage_{block}': before}}


def layers_of_blocks(depth: int, blocks: int) -> list[list[int]]:
  """Layer indices of each block, block 1 at the top: adjacent, equal sizes."""
  size = depth // blocks
  if not size:
    raise errors.ConfigError(
      f'{blocks} blocks need at least as many layers, the base has {depth}'
    )
  return [
    [depth - 1 - (block * size + j) for j in range(size)]
    for block in range(blocks)
  ]


def _init_adapters(key, base, blocks, rank, targets, name):
  """{'block_1': {...}}: a random, b zero, so a new adapter changes nothing."""
  found = {}  # layer -> [(path of the projection, inputs, outputs)]
  depth, seen = 0, set()
  for path, kernel in trees.flatten(base).items():
    layer = re.match(r'layer_(\d+)/', path)
    # Numbers are compared as numbers: 'layer_1' is no prefix of 'layer_10'.
    depth = max(depth, int(layer[1]) + 1) if layer else depth
    match = _PROJECTION.fullmatch(path)
    if match and kernel.ndim == 2:
      seen.add(match[2])
      if match[2] in targets:
        place = path.removesuffix('/kernel')
        found.setdefault(int(match[1]), []).append((place, *kernel.shape))
  if not seen:
    raise errors.ConfigError(
      f'{name} cannot be the base of lora: it has no 2-D projection inside a '
      'layer_<i>; a vit has'
    )
  for target in targets:
    errors.check_choice(f'projection of {name}', target, seen)
  leaves = {}
  for block, layers in enumerate(layers_of_blocks(depth, blocks), start=1):
    for place, inputs, outputs in (p for i in layers for p in found.get(i, ())):
      a = jax.random.normal(keys.stream(key, place), (inputs, rank))
      leaves[f'block_{block}/{place}/a'] = a * inputs**-0.5
      leaves[f'block_{block}/{place}/b'] = jnp.zeros((rank, outputs))
  return trees.unflatten(leaves)


def _init_heads(kind, head_0, blocks):
  if kind == 'additive':
    differences = jax.tree.map(jnp.zeros_like, head_0)
    return {'frozen': head_0} | {
      f'stage_{k}': differences for k in range(1, blocks + 1)
    }
  return {f'stage_{k}': head_0 for k in range(1, blocks + 1)}


def _active_head(heads, on, kind):
  """Kernel and bias of the active stages; at depth 0 the untrained start."""

  def total(leaf):
    if kind == 'additive':
      value = heads['frozen'][leaf]
    else:
      value = jnp.zeros_like(heads['stage_1'][leaf])
    for k in range(len(on)):
      mine = heads[f'stage_{k + 1}'][leaf]
      if kind == 'additive':
        mine = value + mine
      value = jnp.where(on[k], mine, value)
    return value

  return total('kernel'), total('bias')


def _adapters(blocks, on, scale):
  """Adapters by path of their projection, as the base model takes them."""
  by_path = {}
  for block, tree in blocks.items():
    pairs = {}
    for path, leaf in trees.flatten(tree).items():
      place, part = path.rsplit('/', 1)
      pairs.setdefault(place, {})[part] = leaf
    switch = on[int(block.removeprefix('block_')) - 1]
    for place, pair in pairs.items():
      by_path[place] = _layers.Adapter(**pair, on=switch, scale=scale)
  return by_path
