"""A parser of somebody else's package, added through an entry point."""
