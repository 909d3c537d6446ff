"""Approximate unlearning: one file a method."""

COMPONENTS = True
