"""How edged runs a module of its own, or of a library, in a process of its own."""

from __future__ import annotations

import os
import sys

# As `python -m`, which would also import what lies in the current folder: often one of downloads, with root at work.
# -P does the same, from Python 3.11 on.
_LOADER = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command(module: str, *words: str) -> list[str]:
    """What runs `module` with these arguments; with `environment()` it is found where this process finds it."""
    return [sys.executable, "-c", _LOADER, module, *words]


def environment() -> dict[str, str]:
    """Ours, with the folders that this process imports from, whatever put them there."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
