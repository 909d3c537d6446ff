"""One file a metric, with its ideal value and its noise floor."""

COMPONENTS = True
