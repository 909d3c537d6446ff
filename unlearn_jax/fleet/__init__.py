"""Many independent models in one program."""
