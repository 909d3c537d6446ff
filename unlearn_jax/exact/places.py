"""Where a stage is trained: one device, or a group of them as a mesh.

On a mesh the rows of a batch are split over the axis 'data', and parameters
over 'model', by their last axis. That moves bits, so the shape of the mesh is
part of a recipe; which devices make it up is not.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import jax

from unlearn_jax import devices, step

AXES = ('data', 'model')
Place = Any  # a device, or a mesh of `devices.make_mesh`


def local(axes: Mapping[str, int]) -> list[Place]:
  """The places of this process: its devices, or groups of them with `axes`."""
  if not axes:
    return jax.local_devices()
  return devices.local_meshes({name: axes[name] for name in AXES})


def copy(tree: Any, place: Place) -> Any:
  """Sends arrays to a place, whole to each of its devices."""
  if place is None or isinstance(place, jax.Device):
    return jax.device_put(tree, place)
  return jax.device_put(tree, jax.NamedSharding(place, jax.P()))


def spread(tree: Any, place: Place) -> Any:
  """Sends parameters and their like to a place, split over 'model'."""
  if place is None or isinstance(place, jax.Device):
    return jax.device_put(tree, place)
  shardings = jax.tree.map(
    lambda spec: jax.NamedSharding(place, spec), _specs(tree, place.shape)
  )
  return jax.device_put(tree, shardings)


def split(one_step: step.StepFn, axes: Mapping[str, int]) -> step.StepFn:
  """The step on a mesh with `axes`; runs and is traced inside `at`."""
  if not axes:
    return one_step

  def on_mesh(state, batch, key, progress):
    batch = jax.lax.with_sharding_constraint(batch, jax.P('data'))
    state, loss = one_step(state, batch, key, progress)
    return jax.lax.with_sharding_constraint(state, _specs(state, axes)), loss

  return on_mesh


def at(place: Place):
  """The context in which a program is called that runs at `place`."""
  if place is None or isinstance(place, jax.Device):
    return contextlib.nullcontext()
  return jax.set_mesh(place)


def _specs(tree: Any, axes: Mapping[str, int]) -> Any:
  """Per leaf: its last axis over 'model' where that divides it, else whole."""

  def spec(leaf):
    if leaf.ndim and leaf.shape[-1] % axes['model'] == 0:
      return jax.P(*[None] * (leaf.ndim - 1), 'model')
    return jax.P()

  return jax.tree.map(spec, tree)
