"""How long the process has spent compiling: it is never a method's time."""

import jax

_EVENTS = (
  '/jax/core/compile/jaxpr_trace_duration',
  '/jax/core/compile/jaxpr_to_mlir_module_duration',
  '/jax/core/compile/backend_compile_duration',
)
_seconds = 0.0


def compiling() -> float:
  """Seconds of tracing, lowering and compiling since the process began."""
  return _seconds


def _add(event: str, duration: float, **facts) -> None:
  del facts
  global _seconds
  if event in _EVENTS:
    _seconds += duration


jax.monitoring.register_event_duration_secs_listener(_add)
