"""One file a model; `make(...)` returns a `types.Model`."""

COMPONENTS = True
