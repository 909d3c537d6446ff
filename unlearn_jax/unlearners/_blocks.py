"""Which parameters come last in the forward pass, block by block."""

import jax

from unlearn_jax import errors, trees, types


def in_order(model: types.Model, params, x) -> list[tuple[str, ...]]:
  """Names of the top level, from input to output, in blocks.

  Names do not say what comes first ('head' stands before 'layer_0'), so the
  order is that in which the forward pass first reads them. What holds only
  vectors, as a normalization does, belongs to the block before it.
  """
  weights = {
    path: leaf
    for path, leaf in trees.flatten(params).items()
    if types.not_stats(path)
  }
  matrices = {p.split('/')[0] for p, leaf in weights.items() if leaf.ndim > 1}
  blocks = []
  for path in _read(model, params, x):
    name = path.split('/')[0]
    if name == 'stats' or any(name in block for block in blocks):
      continue
    if name in matrices or not blocks:
      blocks.append((name,))
    else:
      blocks[-1] += (name,)
  return blocks


def last(model: types.Model, params, x, count: int) -> trees.Predicate:
  """Whether a path is of one of the last `count` blocks, and trains."""
  blocks = in_order(model, params, x)
  if not 1 <= count <= len(blocks):
    raise errors.ConfigError(
      f'blocks is one of 1..{len(blocks)}, as the model has {blocks}; '
      f'got {count}'
    )
  names = {name for block in blocks[-count:] for name in block}

  def chosen(path):
    return path.split('/')[0] in names and model.trainable(path)

  if not any(chosen(path) for path in trees.flatten(params)):
    raise errors.ConfigError(f'nothing trains in the last {count} blocks')
  return chosen


def _read(model, params, x) -> list[str]:
  """Paths in the order in which the forward pass first reads them."""
  named = {
    path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    for path, leaf in trees.flatten(params).items()
  }
  program = jax.make_jaxpr(lambda p, x: model.apply(trees.unflatten(p), x))(
    named, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
  ).jaxpr
  paths = dict(zip(map(id, program.invars), named, strict=False))
  found = {}
  _follow(program, paths, found)
  return list(found)


def _follow(program, paths, found) -> None:
  """Adds to `found`, in order, the paths that the equations of a program read."""
  for equation in program.eqns:
    read = [paths.get(id(variable)) for variable in equation.invars]
    inner = equation.params.get('jaxpr')
    inner = getattr(inner, 'jaxpr', inner)
    if inner is not None and len(inner.invars) == len(read):
      # A function that is compiled by itself: its body has the order.
      within = zip(map(id, inner.invars), read, strict=True)
      _follow(inner, {at: path for at, path in within if path}, found)
    found.update(dict.fromkeys(path for path in read if path))
