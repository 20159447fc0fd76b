"""Check that every extra can be installed on a Jetson, and under which licences.

Every dependency of every extra resolves to aarch64 wheels for the Pythons of JetPack 6 and 7, or is in
INSTEAD with what replaces it. Asks the package index pip is configured for; installs nothing.

Environment markers of our own requirements are judged for the target; pip judges those of their dependencies for the
machine it runs on.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from lowest import project, requirements

# Python -> the newest glibc 2.x whose wheels install there (Ubuntu 22.04 and 24.04)
TARGETS = {"3.10": 35, "3.12": 39}


@dataclass(frozen=True)
class Instead:
    """What a Jetson uses in place of an aarch64 wheel; `needs` are the requirements that remain."""

    how: str
    needs: tuple[str, ...] = ()


INSTEAD = {
    "pycuda": Instead(
        "source package; compiles on the device with the CUDA toolkit of JetPack",
        ("pytools>=2011.2", "platformdirs>=2.2.0", "mako"),
    ),
    **dict.fromkeys(
        ("torch", "onnxscript", "tensorflow", "tf2onnx"),
        Instead("edged model import is made on a workstation; the model directory is what a Jetson gets"),
    ),
    "systemd-python": Instead("apt package python3-systemd, or source with libsystemd-dev"),
    "tensorrt": Instead("apt package python3-libnvinfer, part of JetPack; in no extra"),
}

_FULL = re.compile(r"\bA?GPL|Affero|General Public", re.IGNORECASE)
_LESSER = re.compile(r"\bLGPL[\w.+-]*|(GNU )?(Lesser|Library)( or Lesser)? General Public", re.IGNORECASE)


def target_requirements(extras: Iterable[str], python: str, machine: str = "aarch64") -> list[str]:
    """What pip is asked for on such a Python: markers resolved, INSTEAD replaced by its needs."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
    }
    wanted: set[str] = set()
    for r in requirements(extras):
        if r.marker is not None and not r.marker.evaluate(environment):
            continue
        if r.name in INSTEAD:
            wanted.update(INSTEAD[r.name].needs)
        else:
            wanted.add(f"{r.name}{_bracketed(r)}{r.specifier}")
    return sorted(wanted)


def _bracketed(r: Requirement) -> str:
    return f"[{','.join(sorted(r.extras))}]" if r.extras else ""


def target_options(python: str, glibc: int, machine: str = "aarch64") -> list[str]:
    """How pip is told to take wheels of such a Python and system only."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    options = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    return options + [f"--platform={p}" for p in platforms]


def run_pip(*arguments: str) -> str:
    """What pip prints; RuntimeError with its reason when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def resolve(wanted: Sequence[str], python: str, glibc: int) -> list[dict[str, Any]]:
    """Metadata of every distribution that pip would install; RuntimeError when there is no such set."""
    options = target_options(python, glibc)
    with tempfile.TemporaryDirectory() as empty:
        how = ["-qq", "--dry-run", "--ignore-installed", "--report", "-", "--target", empty]
        report = json.loads(run_pip("install", *how, *options, *wanted))
    return [item["metadata"] for item in report["install"]]


def licence(metadata: dict[str, Any]) -> str:
    """The licence a distribution declares: expression, else classifiers, else its text's first line, else ""."""
    named = [c.split(" :: ")[-1] for c in metadata.get("classifier", []) if c.startswith("License :: OSI")]
    text = str(metadata.get("license", "")).strip().partition("\n")[0]
    return str(metadata.get("license_expression") or ", ".join(named) or text)


def licences(found: Sequence[dict[str, Any]], python: str, glibc: int) -> dict[str, str]:
    """Name -> declared licence. pip's report leaves out licence expressions: those come from the wheels,
    of the environment that runs this where they are installed, else downloaded.
    """
    declared = {m["name"]: licence(m) for m in found}
    for name in (n for n, text in declared.items() if not text):
        try:
            declared[name] = licence(importlib.metadata.metadata(name).json)
        except importlib.metadata.PackageNotFoundError:
            continue
    missing = [f"{m['name']}=={m['version']}" for m in found if not declared[m["name"]]]
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            run_pip("download", "-qq", "--no-deps", "-d", folder, *target_options(python, glibc), *missing)
            for wheel in Path(folder).glob("*.whl"):
                (found_in,) = importlib.metadata.distributions(path=[str(wheel)])
                declared[found_in.metadata["Name"]] = licence(found_in.metadata.json)
    return declared


def copyleft(declared: str) -> Literal["", "lesser", "full"]:
    """What a licence asks of those who link: nothing, LGPL (noted), GPL or AGPL (refused)."""
    if re.search(r"\bOR\b", declared):
        # of "Apache-2.0 OR LGPL-2.1-or-later" the first may be chosen: judge the mildest
        order: tuple[Literal["", "lesser", "full"], ...] = ("", "lesser", "full")
        return min((copyleft(part) for part in re.split(r"\bOR\b", declared)), key=order.index)
    if _FULL.search(_LESSER.sub("", declared)):
        return "full"
    return "lesser" if _LESSER.search(declared) else ""


def main() -> int:
    extras = sorted(project()["optional-dependencies"])
    print(f"extras: {', '.join(extras)}")
    failed = False
    for python, glibc in TARGETS.items():
        try:
            found = resolve(target_requirements(extras, python), python, glibc)
        except RuntimeError as e:
            print(f"Python {python}, aarch64: no set of wheels\n{e}", file=sys.stderr)
            print(
                "  remedy: lower the bound in pyproject.toml, or name in INSTEAD what replaces it",
                file=sys.stderr,
            )
            failed = True
            continue
        names = ", ".join(
            f"{m['name']} {m['version']}" for m in sorted(found, key=lambda m: m["name"].lower())
        )
        print(f"Python {python}, aarch64: {len(found)} wheels: {names}")
        for name, declared in licences(found, python, glibc).items():
            kind = copyleft(declared)
            if kind == "full":
                print(f"{name}: licence {declared} is not permissive", file=sys.stderr)
                failed = True
            elif kind or not declared:
                print(f"  note: {name}: licence {declared or 'not declared'}")
    for name, instead in INSTEAD.items():
        print(f"{name}: {instead.how}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
