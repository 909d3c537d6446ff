"""The method that the README adds is a method."""

import pathlib
import types as python_types

import numpy as np

from tests.unlearners import test_unlearners_conformance as conformance
from unlearn_jax import trees

README = pathlib.Path(__file__).parents[2] / 'README.md'


def test_it_unlearns_as_it_stands():
  text = README.read_text()
  code = text[text.index('"""Shrinks every weight') :]
  code = code[: code.index('```')]
  assert len([line for line in code.splitlines() if line]) <= 20
  module = python_types.ModuleType('shrunk')
  exec(compile(code, 'README.md', 'exec'), module.__dict__)
  asked = conformance.plain('finetune')
  done = module.make(shrink=0.2)(asked)
  assert trees.all_finite(done.params)
  assert done.record.gradients == 5 * len(asked.retain)
  before, after = (
    np.abs(trees.flatten(tree)['layer_0/kernel']).mean()
    for tree in (asked.params, done.params)
  )
  assert 0.1 < after / before < 0.5
