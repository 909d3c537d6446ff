"""One file a data set; `make(...)` returns a `types.Dataset`."""

COMPONENTS = True
