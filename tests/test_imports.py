"""The order of imports, and that every module imports where the optional libraries are absent."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "edged"
OPTIONAL = (
    "cv2",
    "onnxruntime",
    "onnx",
    "onnxslim",
    "zmq",
    "paho",
    "tensorrt",
    "tensorrt_rtx_libs",
    "pycuda",
    "nvtx",
    "systemd",
)

# From the bottom up: a module imports from its own layer and those below it. A package stands for its modules.
LAYERS = (
    (
        "edged",
        "edged.errors",
        "edged.frames",
        "edged.tensors",
        "edged.messages",
        "edged.backoff",
        "edged.children",
        "edged.config.schema",  # values alone
        "edged.sensors",
        "edged.views",
    ),
    ("edged.memory", "edged.mailbox", "edged.registry", "edged.interfaces", "edged.parsers.base"),
    ("edged.models.model",),
    ("edged.config", "edged.models"),
    ("edged.devices", "edged.engines", "edged.parsers", "edged.sinks", "edged.sources", "edged.tracking"),
    (
        "edged.client",
        "edged.metrics",
        "edged.freshness",
        "edged.health",
        "edged.escalation",
        "edged.recovery",
        "edged.trial",
        "edged.service",
        "edged.rates",
        "edged.pressure",
    ),
    ("edged.framesets", "edged.lineage"),
    ("edged.results",),
    (
        "edged.units",
        "edged.looks",
        "edged.pipeline",
        "edged.tickets",
        "edged.runner",
        "edged.sources.ways",
        "edged.sources.unit",
    ),
    ("edged.steering", "edged.happenings", "edged.admission", "edged.changes"),
    ("edged.roster", "edged.changing"),
    ("edged.supervisor",),
    (
        "edged.parts",
        "edged.assembly",
        "edged.transition",
        "edged.standing",
        "edged.orders",
        "edged.helm",
        "edged.liveness",
        "edged.board",
        "edged.observed",
        "edged.announcer",
        "edged.telling",
        "edged.process",
        "edged.rollout",
        "edged.thinning",
        "edged.desk",
        "edged.instance",
        "edged.daemon",
    ),
    ("edged.build",),
    (
        "edged.control",
        "edged.bench",
        "edged.doctor",
        "edged.inspecting",
        "edged.evaluation",
        "edged.importing",
        "edged.cli",
        "edged.__main__",
    ),
)
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
# Backends of one group know nothing of another's: only the stages above bring them together.
BACKENDS = ("edged.devices", "edged.engines", "edged.parsers", "edged.sinks", "edged.sources")
SHARED_BY_ALL = ("edged.parsers.base",)


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def place(module: str) -> str:
    """The longest entry of LAYERS that `module` is or is in."""
    name = module
    while name not in HEIGHT or (name == "edged" and module != "edged"):
        name, _, _ = name.rpartition(".")
        assert name, f"{module} has no place in LAYERS: give it one"
    return name


@cache
def imports(module: str) -> tuple[str, ...]:
    """Modules of edged that `module` imports, at its head or inside functions."""
    return tuple(_imports(module))


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "edged")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: write 'from edged.x import y', not a relative import"
            if node.module and node.module.split(".")[0] == "edged":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in MODULES else node.module


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    for other in imports(module):
        assert HEIGHT[place(other)] <= HEIGHT[place(module)], f"{module} imports {other}, which is above it"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(BACKENDS)])
def test_backends_of_one_group_do_not_know_another(module: str) -> None:
    own = ".".join(module.split(".")[:2])
    strangers = tuple(b for b in BACKENDS if b != own)
    for other in imports(module):
        assert other in SHARED_BY_ALL or not other.startswith(strangers), f"{module} imports {other}"


BLOCKED = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by the test)", name=name)
        return None

OPTIONAL = set(sys.argv[1:])
sys.meta_path.insert(0, Blocker())
import edged
from edged import registry
modules = [m.name for m in pkgutil.walk_packages(edged.__path__, "edged.")]
for name in modules:
    if not name.endswith(".__main__"):
        importlib.import_module(name)
for group, kinds in registry.BUILT_IN.items():
    for kind in kinds:
        assert registry.load(group, kind).Options, (group, kind)
present = sorted(OPTIONAL & sys.modules.keys())
assert not present, present
print(len(modules))
"""


def test_every_module_imports_where_the_optional_libraries_are_absent() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, *OPTIONAL],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len(MODULES) - 2  # edged itself and a __main__ are not walked
