"""Who influenced what: one file a method of attribution."""

COMPONENTS = True
