"""Collect what installing edged without a network needs (scripts/wheelhouse): its wheels, and scripts and units.

    DIR/scripts/install …     the same as in a checkout
    DIR/systemd  DIR/configs  DIR/README.md  DIR/extras
    DIR/wheels/*.whl          edged, what it depends on, and pip, for one Python on one kind of machine

DIR is made beside itself and then takes its place: it is whole or not there.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from check_extras import INSTEAD, TARGETS, run_pip, target_options, target_requirements
from lowest import requirements

ROOT = Path(__file__).resolve().parents[1]
JETPACK = dict(zip(("6", "7"), TARGETS, strict=True))  # its Python
TOLD = ("scripts/install", "scripts/uninstall", "scripts/_service.sh", "scripts/setup", "README.md")


@dataclass(frozen=True)
class Target:
    """A Python ("3.10") on a machine (as `uname -m` says) with glibc 2.`glibc`."""

    python: str
    machine: str
    glibc: int

    def __str__(self) -> str:
        return f"Python {self.python}, {self.machine}, glibc 2.{self.glibc}"


def this_machine() -> Target:
    """The system's Python, which the service runs on; not the one that runs this."""
    said = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Target(said.stdout.strip(), platform.machine(), int(platform.libc_ver()[1].split(".")[1]))


def edged_wheel(folder: Path) -> None:
    """Build it from a copy: a checkout keeps what setuptools left of earlier builds, and would put it in."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "edged", Path(copy, "edged"), ignore=shutil.ignore_patterns("__pycache__"))
        run_pip("wheel", "-qq", "--no-deps", "-w", str(folder), copy)


def collect(folder: Path, target: Target, extras: Sequence[str], cache: Path | None) -> list[str]:
    """Fill `folder`; returns what the device must have of its own. RuntimeError says what pip could not do."""
    wheels = folder / "wheels"
    wheels.mkdir()
    edged_wheel(wheels)
    wanted = [*target_requirements(extras, target.python, target.machine), "pip>=24"]
    options = target_options(target.python, target.glibc, target.machine)
    known = ["--find-links", str(cache)] if cache is not None and cache.is_dir() else []
    run_pip("download", "-qq", "-d", str(wheels), *known, *options, *wanted)
    for name in TOLD:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("systemd", "configs"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "extras").write_text(",".join(extras) + "\n")
    names = sorted({r.name for r in requirements([*extras, "systemd"])} & set(INSTEAD))
    return [f"{name}: {INSTEAD[name].how}" for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/wheelhouse", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--jetpack", choices=JETPACK)
    parser.add_argument("--python", metavar="X.Y")
    parser.add_argument("--machine", metavar="M")
    parser.add_argument("--glibc", metavar="N", type=int)
    parser.add_argument("--extras", metavar="LIST", default="ort")
    args = parser.parse_args(arguments)
    if args.jetpack:
        python = JETPACK[args.jetpack]
        target = Target(python, "aarch64", TARGETS[python])
    else:
        here = this_machine()
        target = Target(args.python or here.python, args.machine or here.machine, args.glibc or here.glibc)
    folder: Path = args.folder.resolve()
    if folder.exists() and not (folder / "wheels").is_dir():
        parser.error(f"{folder} is there and is no wheelhouse: name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".wheelhouse.", dir=folder.parent))
    try:
        extras = [e for e in args.extras.split(",") if e]
        lacking = collect(fresh, target, extras, folder / "wheels")
        fresh.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(fresh, folder)
    except RuntimeError as e:
        print(f"error: no set of wheels for {target}\n{e}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    wheels = list((folder / "wheels").glob("*.whl"))
    size = sum(w.stat().st_size for w in wheels) / 2**20
    print(f"{folder}: {len(wheels)} wheels, {size:.0f} MiB, for {target}")
    for line in lacking:
        print(f"the device must have {line}")
    print(f"next: copy {folder.name} to the device, and there: sudo {folder.name}/scripts/install")
    return 0


if __name__ == "__main__":
    sys.exit(main())
