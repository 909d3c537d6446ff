"""How to build each data set small: name -> function(folder) -> arguments.

Every function writes real files of the format and returns what `make` takes.
A new file in `unlearn_jax/data` needs an entry here.
"""

import gzip
import struct

import numpy as np


def images(count, shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, *shape), np.uint8)


def idx_bytes(array):
  """An array of bytes in the idx format."""
  header = struct.pack('>I', 0x800 + array.ndim)
  return header + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()


def write_idx(folder):
  for part, count in (('train', 20), ('t10k', 8)):
    x, y = images(count, (28, 28)), np.arange(count, dtype=np.uint8) % 10
    for name, array in (('images-idx3', x), ('labels-idx1', y)):
      path = folder / f'{part}-{name}-ubyte.gz'
      path.write_bytes(gzip.compress(idx_bytes(array), 1))
  return {'folder': folder, 'verify': False}


def write_cifar10(folder):
  for b in (1, 2, 3, 4, 5):
    rows = images(6, (3073,), seed=b)
    rows[:, 0] %= 10
    (folder / f'data_batch_{b}.bin').write_bytes(rows.tobytes())
  (folder / 'test_batch.bin').write_bytes(rows[:4].tobytes())
  return {'folder': folder, 'verify': False}


def arrays(count=15):
  rng = np.random.default_rng(0)
  return {
    'x': rng.normal(size=(count, 3)),
    'y': np.arange(count) % 4,
    'id': np.array([f'user{i}' for i in range(count)]),
    'owner': np.arange(count) // 2,
  }


def write_npz(folder):
  np.savez(folder / 'own.npz', **arrays())
  return {'file': folder / 'own.npz', 'num_classes': 4}


CSV = """name, age, sex, income
ann, 31, F, low
bob, 47, M, high
cyd, 25, F, high
dan, 62, M, low
eve, 38, F, low
"""


def write_csv(folder, text=CSV):
  (folder / 'own.csv').write_text(text)
  return {
    'file': folder / 'own.csv',
    'label': 'income',
    'classes': ('low', 'high'),
    'id': 'name',
    'numeric': {'age': (40.0, 12.0)},
    'categorical': {'sex': ('F', 'M')},
  }


def write_tfds(folder):
  from tests.data import tiny_tfds

  tiny_tfds.prepare(folder)
  return {'dataset': 'tiny', 'data_dir': folder}


MAKERS = {
  'cifar10': write_cifar10,
  'diabetes': lambda folder: {},
  'digits': lambda folder: {},
  'fashion_mnist': write_idx,
  'mnist': write_idx,
  'npz': write_npz,
  'tabular': write_csv,
  'tfds': write_tfds,
}
