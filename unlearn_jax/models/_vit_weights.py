"""Weights of vision transformers from public files, mapped to ours by name.

Three layouts are known by their tensor names:

- AugReg-style `.npz`: 'Transformer/encoderblock_0/LayerNorm_0/scale', kernels
  with heads apart, [width, heads, width / heads];
- Hugging Face style `.safetensors`: 'vit.encoder.layer.0...', matrices as
  [outputs, inputs], with or without the 'vit.' in front;
- ours: the paths of the parameters, as `save` writes them.

What the file holds beyond the model (its head, a pooler) is left out; what the
model needs and the file lacks is an error.
"""

import functools
import pathlib
import re
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from unlearn_jax import archives, errors, files, trees, types

PACKAGED = {'mnist': 'vit_micro_mnist.safetensors'}

_AUGREG_TOP = {
  'embedding/kernel': 'embedding/kernel',
  'embedding/bias': 'embedding/bias',
  'cls': 'token',
  'Transformer/posembed_input/pos_embedding': 'position',
  'Transformer/encoder_norm/scale': 'norm/scale',
  'Transformer/encoder_norm/bias': 'norm/bias',
}
_AUGREG_LAYER = {
  'LayerNorm_0': 'norm_attention',
  'MultiHeadDotProductAttention_1': 'attention',
  'LayerNorm_2': 'norm_mlp',
  'MlpBlock_3/Dense_0': 'mlp_in',
  'MlpBlock_3/Dense_1': 'mlp_out',
}
_HF_TOP = {
  'embeddings.cls_token': 'token',
  'embeddings.position_embeddings': 'position',
  'embeddings.patch_embeddings.projection.weight': 'embedding/kernel',
  'embeddings.patch_embeddings.projection.bias': 'embedding/bias',
  'layernorm.weight': 'norm/scale',
  'layernorm.bias': 'norm/bias',
}
_HF_LAYER = {
  'layernorm_before': 'norm_attention',
  'attention.attention.query': 'attention/query',
  'attention.attention.key': 'attention/key',
  'attention.attention.value': 'attention/value',
  'attention.output.dense': 'attention/out',
  'layernorm_after': 'norm_mlp',
  'intermediate.dense': 'mlp_in',
  'output.dense': 'mlp_out',
}


def load(
  path: str, params: types.Params, *, gelu: str = 'exact'
) -> types.Params:
  """`params` with every leaf but the head's replaced by those of the file.

  `gelu` is what the model computes: with the wrong one a file loads and gives
  other features, so that is told.
  """
  tensors = _read(path)
  if gelu != 'exact' and _is_hugging_face(tensors):
    _warn_about_gelu(str(path))
  tensors = _to_ours(tensors, str(path))
  wanted = trees.flatten(params)
  leaves = {}
  for name, leaf in wanted.items():
    if name.startswith('head/'):
      leaves[name] = leaf
      continue
    if name not in tensors:
      raise errors.CheckpointError(
        f'{path} has nothing for {name}. Is it a vision transformer with this '
        f'depth and pool? It gives: {", ".join(sorted(tensors)[:8])} ...'
      )
    tensor = tensors[name].reshape(_merged_heads(tensors[name], leaf))
    if name == 'position' and tensor.shape != leaf.shape:
      tensor = _resized(tensor, leaf.shape, 'token' in wanted, str(path))
    if tensor.shape != leaf.shape:
      raise errors.CheckpointError(
        f'{path}: {name} is {tensor.shape}, the model wants {leaf.shape}'
      )
    leaves[name] = jnp.asarray(tensor, leaf.dtype)
  deeper = [
    name for name in tensors.keys() - wanted.keys() if name.startswith('layer_')
  ]
  if deeper:
    raise errors.CheckpointError(
      f'{path} holds more layers than the model: {sorted(deeper)[0]}'
    )
  return trees.unflatten(leaves)


def save(path: str, params: types.Params, metadata: dict[str, str]) -> None:
  """Writes all but the head as safetensors, in our layout."""
  from safetensors import numpy as safetensors

  backbone, _ = trees.partition(params, lambda p: not p.startswith('head/'))
  arrays = {name: np.asarray(leaf) for name, leaf in backbone.items()}
  files.replace(pathlib.Path(path), safetensors.save(arrays, metadata))


def metadata(path: str) -> dict[str, str]:
  """What `save` was given to write beside the tensors."""
  import safetensors

  with safetensors.safe_open(located(path), 'numpy') as file:
    return file.metadata()


def located(path: str) -> str:
  """The file that `weights=path` means."""
  if path in PACKAGED:
    folder = resources.files('unlearn_jax') / 'models' / 'weights'
    path = str(folder / PACKAGED[path])
  if not pathlib.Path(path).is_file():
    raise errors.DataNotFound(
      f'no file {path}; packaged backbones: {", ".join(PACKAGED)}'
    )
  return path


def _read(path: str) -> dict[str, np.ndarray]:
  path = located(path)
  if path.endswith('.npz'):
    with archives.npz(path, errors.CheckpointError) as archive:
      return dict(archive)
  import safetensors
  from safetensors import numpy as safetensors_numpy

  try:
    return safetensors_numpy.load_file(path)
  except safetensors.SafetensorError as error:
    raise errors.CheckpointError(
      f'{path} is no safetensors: {error}'
    ) from error


def _to_ours(tensors: dict[str, np.ndarray], path: str):
  if any(name.startswith('Transformer/') for name in tensors):
    return _from_augreg(tensors, path)
  if _is_hugging_face(tensors):
    return _from_hugging_face(tensors, path)
  if any(name.startswith('layer_') for name in tensors):
    return tensors
  raise errors.CheckpointError(
    f'{path} has none of the known layouts (AugReg, Hugging Face, ours); it '
    f'holds: {", ".join(sorted(tensors)[:8])} ...'
  )


def _is_hugging_face(tensors) -> bool:
  return any('encoder.layer.' in name for name in tensors)


@functools.cache  # once a file
def _warn_about_gelu(path: str) -> None:
  logging.warning(
    "%s has the Hugging Face layout; such models are trained with gelu='exact'",
    path,
  )


def _embedding(ours, axes: int, path: str) -> np.ndarray:
  """The kernel of the patches, which both public layouts keep as 4-D."""
  kernel = ours.get('embedding/kernel')
  if kernel is None or kernel.ndim != axes:
    raise errors.CheckpointError(
      f'{path} has no embedding of patches with {axes} axes'
    )
  return kernel


def _from_augreg(tensors, path):
  ours = {}
  for name, tensor in tensors.items():
    if name in _AUGREG_TOP:
      ours[_AUGREG_TOP[name]] = tensor
      continue
    match = re.fullmatch(r'Transformer/encoderblock_(\d+)/(.+)', name)
    if not match:
      continue  # a head or a pre-logits layer
    for theirs, mine in _AUGREG_LAYER.items():
      if match[2].startswith(theirs + '/'):
        rest = match[2].removeprefix(theirs + '/')
        ours[f'layer_{match[1]}/{mine}/{rest}'] = tensor
  kernel = _embedding(ours, 4, path)  # [patch, patch, channels, width]
  ours['embedding/kernel'] = kernel.reshape(-1, kernel.shape[-1])
  return ours


def _from_hugging_face(tensors, path):
  ours = {}
  for name, tensor in tensors.items():
    name = name.removeprefix('vit.')
    if name in _HF_TOP:
      ours[_HF_TOP[name]] = tensor
      continue
    match = re.fullmatch(r'encoder\.layer\.(\d+)\.(.+)\.(weight|bias)', name)
    if not match or match[2] not in _HF_LAYER:
      continue  # a classifier or a pooler
    place = f'layer_{match[1]}/{_HF_LAYER[match[2]]}'
    if match[3] == 'bias':
      ours[f'{place}/bias'] = tensor
    elif 'norm' in match[2]:
      ours[f'{place}/scale'] = tensor
    else:
      ours[f'{place}/kernel'] = tensor.T
  kernel = _embedding(ours, 4, path)  # [width, channels, patch, patch]
  ours['embedding/kernel'] = kernel.transpose(2, 3, 1, 0).reshape(
    -1, kernel.shape[0]
  )
  return ours


def _merged_heads(tensor, leaf) -> tuple[int, ...]:
  """Kernels and biases with heads apart have the sizes of ours, merged."""
  same_count = tensor.size == leaf.size and tensor.ndim > leaf.ndim
  return leaf.shape if same_count else tensor.shape


def _resized(position, shape, has_token: bool, path: str):
  """Position embeddings of another image size, interpolated on the grid."""
  skip = int(has_token)
  token, grid = position[:, :skip], position[:, skip:]
  old, new = (int((n - skip) ** 0.5) for n in (position.shape[1], shape[1]))
  if old * old != grid.shape[1] or new * new != shape[1] - skip:
    raise errors.CheckpointError(
      f'{path}: position embeddings {position.shape} cannot be resized to '
      f'{shape}: only square images can'
    )
  width = position.shape[-1]
  with jax.ensure_compile_time_eval():  # Also when shapes alone are traced.
    grid = jax.image.resize(
      jnp.asarray(grid.reshape(old, old, width)), (new, new, width), 'bilinear'
    )
  return np.concatenate([token, np.asarray(grid).reshape(1, -1, width)], axis=1)
