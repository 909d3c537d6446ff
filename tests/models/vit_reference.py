"""A vision transformer in plain NumPy, float64, loops over heads.

Written apart from the package, so that a mistake cannot hide in both. Takes
tensors by the names of the two public layouts.
"""

import math

import numpy as np


def _erf(x):
  return np.vectorize(math.erf)(x)


def gelu_exact(x):
  return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def gelu_tanh(x):
  inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
  return 0.5 * x * (1 + np.tanh(inner))


def _norm(x, scale, bias, eps):
  mean = x.mean(-1, keepdims=True)
  var = ((x - mean) ** 2).mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(var + eps) * scale + bias


def _attention(x, project, heads):
  """`project(name, head, x)` for query, key, value; then the output."""
  mixed = []
  for head in range(heads):
    q, k, v = (project(name, head, x) for name in ('query', 'key', 'value'))
    scores = q @ k.T / math.sqrt(q.shape[-1])
    p = np.exp(scores - scores.max(-1, keepdims=True))
    mixed.append(p / p.sum(-1, keepdims=True) @ v)
  return mixed


def augreg(t, image, heads, depth, eps=1e-6):
  """Features of one image [h, w, c] from AugReg-style tensors."""
  t = {name: np.asarray(value, np.float64) for name, value in t.items()}
  kernel = t['embedding/kernel']  # [p, p, c, width]
  p = kernel.shape[0]
  tokens = [t['cls'][0, 0]]
  for i in range(0, image.shape[0], p):
    for j in range(0, image.shape[1], p):
      window = image[i : i + p, j : j + p]
      tokens.append(
        np.einsum('abc,abcd->d', window, kernel) + t['embedding/bias']
      )
  x = np.stack(tokens) + t['Transformer/posembed_input/pos_embedding'][0]
  for i in range(depth):
    at = f'Transformer/encoderblock_{i}'
    mha = f'{at}/MultiHeadDotProductAttention_1'

    def project(name, head, y, mha=mha):
      return (
        y @ t[f'{mha}/{name}/kernel'][:, head] + t[f'{mha}/{name}/bias'][head]
      )

    y = _norm(x, t[f'{at}/LayerNorm_0/scale'], t[f'{at}/LayerNorm_0/bias'], eps)
    mixed = _attention(y, project, heads)
    x = x + t[f'{mha}/out/bias']
    for head in range(heads):
      x = x + mixed[head] @ t[f'{mha}/out/kernel'][head]
    y = _norm(x, t[f'{at}/LayerNorm_2/scale'], t[f'{at}/LayerNorm_2/bias'], eps)
    y = gelu_tanh(
      y @ t[f'{at}/MlpBlock_3/Dense_0/kernel']
      + t[f'{at}/MlpBlock_3/Dense_0/bias']
    )
    x = (
      x
      + y @ t[f'{at}/MlpBlock_3/Dense_1/kernel']
      + t[f'{at}/MlpBlock_3/Dense_1/bias']
    )
  x = _norm(
    x,
    t['Transformer/encoder_norm/scale'],
    t['Transformer/encoder_norm/bias'],
    eps,
  )
  return x[0]


def hugging_face(t, image, heads, depth, eps=1e-12):
  """Features of one image [h, w, c] from Hugging Face style tensors."""
  t = {name: np.asarray(value, np.float64) for name, value in t.items()}
  weight = t['vit.embeddings.patch_embeddings.projection.weight']
  p = weight.shape[-1]  # [width, c, p, p]
  tokens = [t['vit.embeddings.cls_token'][0, 0]]
  for i in range(0, image.shape[0], p):
    for j in range(0, image.shape[1], p):
      window = image[i : i + p, j : j + p]
      tokens.append(
        np.einsum('abc,dcab->d', window, weight)
        + t['vit.embeddings.patch_embeddings.projection.bias']
      )
  x = np.stack(tokens) + t['vit.embeddings.position_embeddings'][0]
  width = x.shape[-1] // heads
  for i in range(depth):
    at = f'vit.encoder.layer.{i}'

    def dense(name, y, at=at):
      return y @ t[f'{at}.{name}.weight'].T + t[f'{at}.{name}.bias']

    def norm(name, y, at=at):
      return _norm(y, t[f'{at}.{name}.weight'], t[f'{at}.{name}.bias'], eps)

    def project(name, head, y, dense=dense):
      whole = dense(f'attention.attention.{name}', y)
      return whole[:, head * width : (head + 1) * width]

    mixed = _attention(norm('layernorm_before', x), project, heads)
    x = x + dense('attention.output.dense', np.concatenate(mixed, -1))
    y = gelu_exact(dense('intermediate.dense', norm('layernorm_after', x)))
    x = x + dense('output.dense', y)
  return _norm(x, t['vit.layernorm.weight'], t['vit.layernorm.bias'], eps)[0]
