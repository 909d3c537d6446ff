"""Tiny systems, and children that train them in another layout.

What a child finds goes to stderr as JSON, because Gloo talks on stdout.
"""

import json
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np

SHAPE, CLASSES = (8, 8, 1), 3
_VIT = {
  'name': 'vit',
  'patch': 4,
  'width': 8,
  'depth': 2,
  'heads': 2,
  'mlp_dim': 8,
}
MODELS = {
  'mlp': {
    'model': {'name': 'mlp', 'hidden': [8], 'dropout': 0.2},
    'carry': True,
  },
  'vit': {
    'strategy': 's3t',
    'model': {'name': 'lora', 'blocks': 2, 'rank': 2, 'base': _VIT},
  },
  'cnn': {'model': {'name': 'cnn', 'widths': [4, 8], 'hidden': 8}},
}


def write(path, n=64, without=()):
  """A file of random examples; it never held those `without`."""
  rng = np.random.default_rng(0)
  ids = np.arange(n) * 3 + 5
  x = rng.normal(size=(n, *SHAPE)).astype(np.float32)
  y = rng.integers(0, CLASSES, n)
  kept = ~np.isin(ids, without)
  np.savez(path, x=x[kept], y=y[kept], id=ids[kept])


def config(kind, file, **fields):
  """A recipe with 4 shards, so that four devices have work."""
  return {
    'data': {'name': 'npz', 'file': str(file), 'num_classes': CLASSES},
    'optimizer': {'name': 'adamw', 'learning_rate': 0.01},
    'augment': {'shift': 1} if kind == 'cnn' else {},
    'shards': 4,
    'slices': 2,
    'sequences': {'kind': 'cyclic', 'budget': 2},
    'batch_size': 8,
    'epochs': 2,
    **MODELS[kind],
    **fields,
  }


def start(code, *arguments, nproc=8, **environment):
  """A child that runs `code`; `say(**facts)` reports."""
  return subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(_HEAD) + textwrap.dedent(code)]
    + [a if isinstance(a, str) else json.dumps(a) for a in arguments],
    env={
      **os.environ,
      'NPROC': str(nproc),
      'JAX_PLATFORMS': 'cpu',
      **environment,
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def result(child, timeout=240):
  """What the child said."""
  try:
    _, err = child.communicate(timeout=timeout)
  finally:
    child.kill()
  assert child.returncode == 0, err
  return json.loads(err.splitlines()[-1])


def results(children):
  """What all of them said; none outlives the failure of another."""
  try:
    return [result(child) for child in children]
  finally:
    for child in children:
      if child.poll() is None:
        child.kill()
        child.communicate()


def run(code, *arguments, **options):
  return result(start(code, *arguments, **options))


def free_port():
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    return probe.getsockname()[1]


# Every child begins with this: arguments, the counted loops, and what to say.
_HEAD = """
  import json, os, sys
  import numpy as np
  from unlearn_jax import devices, trees
  arguments = sys.argv[1:]

  def say(**facts):
    print(json.dumps(facts), file=sys.stderr)

  def systems():
    from unlearn_jax.exact import system
    return system.System

  def watched():
    '''[(stage, devices of its state), ...] of every fit from here on.'''
    from unlearn_jax.exact import builder
    seen, begin = [], builder.Builder._begin
    def spy(self, stage, *rest):
      state = begin(self, stage, *rest)
      for leaf in trees.flatten(state.params).values():
        seen.append((str(stage), sorted(d.id for d in leaf.devices())))
      return state
    builder.Builder._begin = spy
    return seen
"""
