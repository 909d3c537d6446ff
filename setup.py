"""Installs unlearn_jax. See README.md for what each extra is for."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
  r"__version__ = '(.+)'", (HERE / 'unlearn_jax/__init__.py').read_text()
)[1]

BASE = [
  'jax>=0.10',
  'flax>=0.12',
  'optax>=0.2.8',
  'orbax-checkpoint>=0.12',
  'tensorflow-datasets>=4.9.10',
  'ml-collections>=1.0',
  'chex>=0.1.92',
  'absl-py>=2.0',
  # Beyond those eight, each for one thing:
  'numpy>=2.0',  # host arrays; the others bring it
  'scipy>=1.13',  # assignment and statistics; jax brings it
  'scikit-learn>=1.5',  # the digits data, and parity of attack classifiers
  'matplotlib>=3.9',  # figures
  'safetensors>=0.5',  # weights of backbones
  'tqdm>=4.66',  # progress on a terminal; tensorflow-datasets brings it
  'pillow>=11.0',  # images of tensorflow-datasets; matplotlib brings it
  'importlib-resources>=6.0',  # tensorflow-datasets needs but misses it
]
EXTRAS = {
  'test': [
    'pytest>=8.0',
    'pytest-xdist>=3.5',
    'ruff==0.17.*',
    'build>=1.2',
    'tensorboardX>=2.6',
  ],
  'notebook': ['nbclient>=0.10', 'ipykernel>=6.29'],
  'gpu': ['jax[cuda12]>=0.10'],
  'tpu': ['jax[tpu]>=0.10'],
  'tensorboard': ['tensorboardX>=2.6'],
  'tfds-prepare': ['tensorflow-cpu>=2.18'],
}

setuptools.setup(
  name='unlearn_jax',
  version=VERSION,
  description='Deletes training examples from trained JAX models, exactly '
  'where the training allows it, and measures what is left.',
  long_description=(HERE / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  author='The unlearn_jax authors',
  license='Apache-2.0',
  license_files=['LICENSE'],
  keywords='machine unlearning, jax, data deletion, SISA, datamodels',
  classifiers=[
    'Development Status :: 3 - Alpha',
    'Intended Audience :: Science/Research',
    'Intended Audience :: Developers',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['unlearn_jax', 'unlearn_jax.*']),
  package_data={'unlearn_jax.models': ['weights/*.safetensors']},
  install_requires=BASE,
  extras_require=EXTRAS,
)
