"""What TensorRT bindings offer, as JSON: run by the Python they are for, in a process of its own.

    python surface.py FOLDER MODULE

FOLDER holds an unpacked wheel, MODULE is its package; the libraries that it needs are found by the loader (stand-ins
by LD_LIBRARY_PATH). Only the standard library is used: any Python will do. Several bindings cannot live in one process:
they register the same C++ types. Output: {class or "": {member: [signature, …]}}; a property has no signature.
"""

from __future__ import annotations

import importlib
import json
import re
import sys


def signatures(doc: str | None) -> list[str]:
    """The lines of a pybind11 docstring that are signatures; several where it is overloaded."""
    found = re.findall(r"^(?:\d+\. )?\w+(\(.*\)) -> .+$", doc or "", re.M)
    return [s for s in found if s != "(*args, **kwargs)"]


def members(path: str, kind: type, out: dict[str, dict[str, list[str]]]) -> None:
    """Of a class and of the classes in it ("ILogger.Severity")."""
    out[path] = {}
    for name in dir(kind):
        value = getattr(kind, name)
        out[path][name] = signatures(value.__doc__) if callable(value) else []
        if isinstance(value, type) and not name.startswith("_"):
            members(f"{path}.{name}", value, out)


def surface(module: object) -> dict[str, dict[str, list[str]]]:
    out: dict[str, dict[str, list[str]]] = {"": {}}
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, type):
            out[""][name] = signatures(value.__init__.__doc__)  # type: ignore[misc]
            members(name, value, out)
        else:
            out[""][name] = signatures(getattr(value, "__doc__", None))
    return out


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    json.dump(surface(importlib.import_module(sys.argv[2])), sys.stdout)
