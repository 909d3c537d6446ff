"""How fast it is: ratios against a baseline of the same run, in pairs."""
