"""What jobs carry in: a tiny model, a wheelhouse for the Python of the image. Made on this machine, kept in build/."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests import onnx_models
from tests.system.vm import ROOT, image

HOUSE = ROOT / "build" / "wheelhouse"


def tiny_model(folder: Path) -> Path:
    """A model directory of one layer: the mean of each channel."""
    directory = folder / "tiny"
    directory.mkdir()
    file = onnx_models.mean_classes(directory / "model.onnx", (1, 3, 32, 32))
    onnx_models.model_toml(directory, file, size=(32, 32))
    return directory


def wheelhouse() -> Path:
    """By scripts/wheelhouse, for the image; what was fetched before is used again. Needs the package index."""
    (python,) = (image() / "tree/usr/lib").glob("python3.*")
    script = [sys.executable, str(ROOT / "scripts/wheelhouse.py"), str(HOUSE)]
    version = python.name.removeprefix("python")
    target = [
        "--python",
        version,
        "--machine",
        "x86_64",
        "--glibc",
        "28",
    ]  # any Debian or Ubuntu of today has that
    subprocess.run([*script, *target], check=True)
    return HOUSE


def without_dependencies(house: Path, folder: Path) -> Path:
    """A wheelhouse with edged and pip only, for a system that has the rest."""
    small = folder / "wheelhouse"
    shutil.copytree(house, small, ignore=shutil.ignore_patterns("*.whl"))
    for wheel in [*(house / "wheels").glob("edged-*"), *(house / "wheels").glob("pip-*")]:
        shutil.copy(wheel, small / "wheels")
    return small


def packed(layer: Path, folder: Path) -> Path:
    """What scripts/install changed in a container, for another machine of the same image: unpack it at /."""
    archive = folder / "installed.tar"
    subprocess.run(
        ["tar", "-cf", archive, "-C", layer, "etc", "opt", "usr/local", "var/lib/edged", "var/cache/edged"],
        check=True,
    )
    return archive
