"""The real bindings of several TensorRTs, without their libraries: what they offer, for tests to compare with.

scripts/fetch_bindings.py puts them into build/bindings. The C functions that they look for are stand-ins that give
nothing: enough to import the modules and look around, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

import fetch_bindings

Surface = dict[str, dict[str, list[str]]]

NAMES = {f"{b.name} {b.version}": b for b in fetch_bindings.BINDINGS}
FULL = [n for n in NAMES if "lean" not in n]  # those that build, too


@cache
def surface(name: str) -> Surface:
    """{class or "": {member: [signature, …]}}; skips, by name, where the bindings or the tools are absent."""
    bindings = NAMES[name]
    python = bindings.folder / "python"
    if not python.is_file():
        pytest.skip(f"{name} is not in build/bindings: scripts/setup fetches it")
    for tool in ("gcc", "nm", "readelf"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} to make stand-in libraries with")
    (extension,) = bindings.folder.glob(f"{bindings.module}/*.so")
    with tempfile.TemporaryDirectory() as work:
        _stand_ins(extension, Path(work))
        command = [python.read_text(), str(Path(__file__).with_name("surface.py"))]
        done = subprocess.run(
            [*command, str(bindings.folder), bindings.module],
            env={**os.environ, "LD_LIBRARY_PATH": work, "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: Surface = json.loads(done.stdout)
    return found


def _stand_ins(extension: Path, folder: Path) -> None:
    """NVIDIA's libraries that the extension is linked to, with the C functions that it looks for."""
    told = _run("readelf", "-d", str(extension))
    libraries = re.findall(r"\(NEEDED\).*\[(lib\w*(?:nv|rtx)[\w.]+)\]", told)
    undefined = [
        line.split()[-1] for line in _run("nm", "-D", "--undefined-only", str(extension)).splitlines()
    ]
    # C++ and Python begin with _ or Py; what has a version belongs to the C library
    wanted = [s for s in undefined if re.fullmatch(r"(create|get|init)\w+", s)]
    source = folder / "nothing.c"
    source.write_text("".join(f"void *{s}(void) {{ return 0; }}\n" for s in wanted))
    first, *others = libraries
    _run("gcc", "-shared", "-fPIC", f"-Wl,-soname,{first}", "-o", str(folder / first), str(source))
    for name in others:
        shutil.copy(folder / first, folder / name)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def arguments(signature: str) -> list[str]:
    """Names in a signature, without self: "(self: X, name: str, shape: tuple)" -> ["name", "shape"]."""
    flat = signature.strip("()")
    while (shorter := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", flat)) != flat:  # commas within types and defaults
        flat = shorter
    return [part.split(":")[0].strip() for part in flat.split(",") if part.strip() and ":" in part][
        1 if flat.startswith("self") else 0 :
    ]
