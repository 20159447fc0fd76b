"""The recorded sysfs of an Orin as a tree of files."""

from __future__ import annotations

from pathlib import Path

from tests.doctor.trees import tree

REFUSES = Path("/proc/self/mem")  # reading it where nothing is mapped is EIO
_LINES = (Path(__file__).parent / "orin.txt").read_text().splitlines()
ORIN = {path.lstrip("/"): text for path, _, text in (line.partition(":") for line in _LINES)}


def orin(root: Path, **changes: str | None) -> Path:
    """Write it below `root`; `changes` as of doctor.trees.tree, "?" makes a node that cannot be read."""
    tree(root, ORIN, **changes)
    for file in root.rglob("*"):
        if file.is_file() and file.read_text() == "?":
            file.unlink()
            file.symlink_to(REFUSES)
    return root


def zone(root: Path, name: str) -> Path:
    """The file with the temperature of that zone, in thousandths of a degree."""
    kinds = (root / "sys/class/thermal").glob("thermal_zone*/type")
    return next(kind for kind in kinds if kind.read_text() == name).parent / "temp"
