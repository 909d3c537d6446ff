"""Sparse models: one file a way to choose which weights may live."""

COMPONENTS = True
