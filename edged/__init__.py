"""edged: camera to GPU to typed results, as a daemon. See edged/README.md for the architecture."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edged")
except PackageNotFoundError:  # run from a tree that was never installed
    __version__ = "0+unknown"
