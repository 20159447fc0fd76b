"""Files that are no plan for this machine, on a real GPU with TensorRT's lean runtime (10.16, CUDA 13): edged tells
each before TensorRT sees it, and what TensorRT itself says has a meaning and a remedy. What came of it is in
tests/gpu/results/tensorrt-lean-….json.

    EDGED_RTX_PLAN=FILE scripts/gpu-test tests/gpu/test_tensorrt_lean.py

FILE: a plan of TensorRT-RTX, which builds on any CPU: edged model build DIR --engine tensorrt-rtx --capability 8.6.
Without it the plan is built here, if the builder is installed. No plan of the lean runtime's own version can be built
on these machines: the headers are edited, the code behind them is not its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.devices.cuda.probe import describe
from edged.engines._tensorrt_plan import check_plan, mapped
from edged.engines.tensorrt_library import library
from edged.errors import EdgedError
from edged.models.plans import PlanError, PlanStore, Sidecar
from tests.devices.available import REAL_GPU, opened

if not REAL_GPU:
    pytest.skip("no NVIDIA driver", allow_module_level=True)
try:
    LIBRARY = library("tensorrt")
except EdgedError as error:
    pytest.skip(f"no TensorRT: {error.message}", allow_module_level=True)

Results = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
OWN = bytes([*(int(n) for n in LIBRARY.version.split(".")), 0][:4])
OLD = bytes([10, 3, 0, 26])


@pytest.fixture(scope="module")
def rtx(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole plan of TensorRT-RTX."""
    given = os.environ.get("EDGED_RTX_PLAN")
    if given:
        return Path(given).read_bytes()
    folder = tmp_path_factory.mktemp("rtx")
    onnx_models = pytest.importorskip(
        "tests.onnx_models", reason="EDGED_RTX_PLAN is not set, and onnx is absent"
    )
    onnx_models.model_toml(folder, onnx_models.relu(folder / "m.onnx"), size=(6, 4))
    edged = [sys.executable, "-c", "import sys; from edged.cli.main import main; sys.exit(main())"]
    build = ["model", "build", str(folder), "--engine", "tensorrt-rtx", "--capability", "8.6"]
    done = subprocess.run(
        [*edged, *build, "--precision", "fp32", "--state-dir", str(folder / "state")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"EDGED_RTX_PLAN is not set, and no plan can be built: {done.stderr[-300:]}")
    (file,) = (folder / "state" / "plans").glob("*/*/model.plan")
    return file.read_bytes()


def edited(plan: bytes, magic: bytes, version: bytes) -> bytes:
    return magic + plan[4:24] + version + plan[28:]


# name -> the file, of a whole plan of RTX
CASES: dict[str, Any] = {
    "foreign file": lambda rtx: b"PK\x03\x04" + b"no plan at all" * 64,
    "plan of TensorRT-RTX": lambda rtx: rtx,
    "header of TensorRT 10.3": lambda rtx: edited(rtx, b"ftrt", OLD),
    "header of this version": lambda rtx: edited(rtx, b"ftrt", OWN),
    "truncated": lambda rtx: edited(rtx, b"ftrt", OWN)[: len(rtx) // 2],
    "header alone": lambda rtx: edited(rtx, b"ftrt", OWN)[:64],
}
# what edged says by the header alone; the others need the sidecar or TensorRT
BEFORE = {
    "foreign file": "not a TensorRT plan: it begins with 50 4b",
    "plan of TensorRT-RTX": "a plan of TensorRT-RTX",
    "header of TensorRT 10.3": f"was built by TensorRT 10.3.0.26; this is {LIBRARY.version}",
}


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Any]]:
    """Filled by the tests, written at the end."""
    cases: dict[str, Any] = {name: {} for name in CASES}
    yield cases
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found = {"date": date, "library": str(LIBRARY), "gpu": str(describe(0)), "cases": cases}
    for folder in (str(ROOT / "tests" / "gpu" / "results"), os.environ.get("OUT")):
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            Path(folder, f"tensorrt-lean-{date.replace(':', '')}.json").write_text(
                json.dumps(found, indent=1) + "\n"
            )


def probe(*arguments: str) -> dict[str, Any]:
    """lean_probe's answer; {"signal": N} where TensorRT ended the process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.lean_probe", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
        check=False,
    )
    if done.returncode < 0:
        return {"signal": -done.returncode, "stderr": done.stderr[-500:]}
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("name", BEFORE)
def test_edged_tells_by_the_header_what_it_is(
    name: str, rtx: bytes, tmp_path: Path, results: Results
) -> None:
    file = tmp_path / "model.plan"
    file.write_bytes(CASES[name](rtx))
    with opened("cuda") as device, pytest.raises(PlanError) as e, mapped(file) as pages:
        check_plan(file, pages, LIBRARY, getattr(device, "capability", ""), "m")
    results[name]["before"] = {"error": e.value.message, "hint": e.value.hint}
    assert BEFORE[name] in e.value.message
    assert e.value.hint == "edged model build m --engine tensorrt"


@pytest.mark.parametrize("name", ["truncated", "header alone", "header of TensorRT 10.3"])
def test_a_plan_that_is_not_what_was_installed_never_reaches_tensorrt(
    name: str, rtx: bytes, tmp_path: Path, results: Results
) -> None:
    whole, store = edited(rtx, b"ftrt", OWN), PlanStore(tmp_path / "state" / "plans")
    source = tmp_path / "built.plan"
    source.write_bytes(whole)
    sidecar = Sidecar(
        engine="tensorrt", version=LIBRARY.version, gpu=None, capabilities=(), precision="fp32", profiles=(),
        onnx_sha256="ab" * 32, plan_sha256=hashlib.sha256(whole).hexdigest(), plan_bytes=len(whole), build_s=0.0,
        built_at=0,
    )  # fmt: skip
    plan = store.install(source, sidecar)
    plan.path.write_bytes(CASES[name](rtx))
    with pytest.raises(PlanError) as e:
        store.verify(plan)
    results[name]["verify"] = {"error": e.value.message, "hint": e.value.hint}
    assert "edged model build" in e.value.hint


@pytest.mark.parametrize("name", CASES)
def test_what_the_runtime_itself_says_has_a_meaning(
    name: str, rtx: bytes, tmp_path: Path, results: Results
) -> None:
    file = tmp_path / "model.plan"
    file.write_bytes(CASES[name](rtx))
    told = probe("runtime", str(file))
    results[name]["runtime"] = told
    assert told.get("signal") is None, (
        "the runtime ended the process: only the check before protects from that"
    )
    assert not told["loaded"]
    assert told["said"], "None without a reason"
    assert told["hint"]
    assert told["left"] == 0


@pytest.mark.parametrize("name", ["header of this version", "truncated", "header alone"])
def test_a_sealed_plan_that_tensorrt_refuses_is_an_error_and_leaves_nothing(
    name: str, rtx: bytes, tmp_path: Path, results: Results
) -> None:
    file = tmp_path / "model.plan"
    file.write_bytes(CASES[name](rtx))
    told = probe("engine", str(file), str(tmp_path / "state"))
    results[name]["engine"] = told
    assert told.get("signal") is None, "the runtime ended the process"
    assert not told["loaded"]
    assert "says:" in told["error"]
    assert told["hint"]
    assert told["left"] == 0
