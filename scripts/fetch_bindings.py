"""Fetch the TensorRT bindings that tests hold edged's code against: scripts/setup calls this, and so can you.

    fetch_bindings.py "VERSION PATH"…    the Pythons that are here, newest first (find_pythons of scripts/setup)

They are extension modules without NVIDIA's libraries, about 1 MB each. They go to build/bindings/NAME-VERSION/,
unpacked, with the path of a Python that they are for in the file `python`. Each wheel has its sha256 here. What is
there stays.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "bindings"


@dataclass(frozen=True)
class Bindings:
    """A package of bindings for x86-64; `hashes`: Python -> sha256 of its wheel."""

    name: str
    version: str
    module: str
    hashes: dict[str, str]

    @property
    def folder(self) -> Path:
        return FOLDER / f"{self.name}-{self.version}"


BINDINGS = (
    Bindings(
        "tensorrt-cu12-bindings",
        "10.3.0",
        "tensorrt_bindings",
        {
            "3.12": "f5c2582aeaa7f5628d2c4d4148a701ebe97be78f7ff3b46a617f0ee0cb5460f2",
            "3.11": "59ace22d7f2ca1e9dcde2cb0cb5916912cb3cd5a9d72dd7852be0160d9b3a0ee",
            "3.10": "1d6e4cf08ef1f54f6fd44a33cf6b253050af2fc6e9a1d92e40e1436a1d858eb0",
        },
    ),
    Bindings(
        "tensorrt-cu13-bindings",
        "11.4.0.106",
        "tensorrt_bindings",
        {
            "3.13": "bac9a362c9189b5f5dd0444213913846e4b46003237834958e890eff57d86ed5",
            "3.12": "5fc7a6c412881f7212030893bd5531b1a0ff415c72c7678dfe4ead7a7765b38d",
            "3.11": "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
            "3.10": "1d17853da33a186c4d4d39995c1186bb59f643689aabac9c3e33ae5f0ba402f5",
        },
    ),
    Bindings(
        "tensorrt-lean-cu13-bindings",
        "10.16.1.11",
        "tensorrt_lean_bindings",
        {
            "3.13": "e521b102154fe65947a710235e342f7c6f58cd1b509535e0a2845a99e694f7e3",
            "3.12": "4135f1636c302e09138acf92d5ab0b06539986958a1f70e7a8a33a5971aede4e",
            "3.11": "39872e2a13478306164135128ea9250101e9c5dddf94ce3f5ca643ee71e54cc0",
            "3.10": "beb88071608eb3ceebdde2dc056dd1fed63384ce51e32827e4f6cad7931d3fad",
        },
    ),
    Bindings(
        "tensorrt-rtx-cu13-bindings",
        "1.7.1.116",
        "tensorrt_rtx_bindings",
        {
            "3.13": "f15cdb560cf2d926405789985509f5496e378ba457a7fb657592ce7f7311c0ff",
            "3.12": "52fb62cb86b922637848f5971b53153bf2e091c33948fa89efd215abaa52b044",
            "3.11": "6a4d2bf39a98b71238046b9a9dd22d0e6b146be90cd56ac09f1e068933e4e18d",
            "3.10": "f357cebfed83af6cbd1d3b172632cd9c6bb06a39e8296a8d3c11a9edd2fae357",
        },
    ),
)


def fetch(wanted: Bindings, version: str, python: str) -> None:
    """Download with pip, which compares the hash, and unpack."""
    with tempfile.TemporaryDirectory() as work:
        requirement = Path(work, "requirement.txt")
        requirement.write_text(f"{wanted.name}=={wanted.version} --hash=sha256:{wanted.hashes[version]}\n")
        where = ["--dest", work, "--python-version", version, "--implementation", "cp", "--abi", "none"]
        for tag in ("2_17", "2_28"):
            where += ["--platform", f"manylinux_{tag}_x86_64"]
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--require-hashes", "-r", str(requirement), *where], check=True)
        (wheel,) = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(wanted.folder)
    (wanted.folder / "python").write_text(python)  # last: with it the folder is whole


def main(lines: list[str]) -> int:
    if platform.machine() != "x86_64":
        print(f"TensorRT's bindings are fetched for x86-64; this is {platform.machine()}")
        return 0
    pythons = dict(line.split(" ", 1) for line in lines)
    for wanted in BINDINGS:
        fits = next((v for v in pythons if v in wanted.hashes), None)
        if fits is None:
            print(
                f"{wanted.name} {wanted.version}: none of the Pythons here has a wheel ({', '.join(pythons)})"
            )
        elif not (wanted.folder / "python").is_file():
            fetch(wanted, fits, pythons[fits])
            print(f"{wanted.name} {wanted.version}: fetched for Python {fits}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
