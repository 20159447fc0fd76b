"""The steps, in order: each yields rows, or raises Skip with what is not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _acceptance.bench import Bench, edged, edged_json, find_builder, last_words
from _acceptance.heat import watching
from _acceptance.rows import Row, Skip, Step
from edged.errors import EdgedError
from edged.memory import format_bytes

COSINE = {"fp32": 0.9999, "fp16": 0.999, "best": 0.99}  # at least, of every output
START_S = 180.0  # for loading and the first picture
_NO_DLA = "this GPU's TensorRT has 0"  # cores: as the builder says it
_ZERO_COPY = ("mmap-register", "userptr-register", "userptr-hostalloc", "dmabuf", "userptr")


def model(b: Bench) -> Iterator[Row]:
    """The one that was named, or CenterFace out of a package."""
    if b.model is None:
        from demo import prepare_model

        b.model = b.folder / prepare_model(b.folder)
    told = edged_json("model", "verify", str(b.model))
    yield Row("model", "pass", f"{told['name']}: loads and runs on ONNX Runtime, CPU")


def doctor(b: Bench) -> Iterator[Row]:
    """Everything that edged doctor finds, and each camera's rung."""
    b.config = write_config(b, engine="auto", sources={"pattern": PATTERN})
    b.doctor = edged_json("doctor", str(b.config), "--state-dir", str(b.state), good=(0, 12))
    rows = [r for r in b.doctor["checks"] if r["check"] != "cameras"]
    failed = [f"{r['check']}: {r['text']} ({r['remedy']})" for r in rows if r["state"] == "fail"]
    warned = [f"{r['check']}: {r['text']}" for r in rows if r["state"] == "warn"]
    counts = b.doctor["counts"]
    text = (
        f"{counts['pass']} pass, {counts['warn']} warn, {counts['fail']} fail, {counts['not here']} not here"
    )
    yield Row("doctor", "fail" if failed else "pass", "; ".join([text, *failed, *warned]))
    yield from _canaries(b)


def _canaries(b: Bench) -> Iterator[Row]:
    rows = [r for r in b.doctor["checks"] if r["check"] == "cameras"]
    tried = [r for r in rows if ": rung " in r["text"]]
    for r in tried:
        device, _, rung = r["text"].partition(": rung ")
        b.cameras.append(device)
        good = rung.split(":")[0] in _ZERO_COPY
        yield Row(f"canary {device}", "pass" if good else "fail", r["text"])
    for r in rows:
        if r not in tried and r["state"] in ("fail", "not here"):
            yield Row("canary", "fail" if r["state"] == "fail" else "skip", r["text"])


def build(b: Bench) -> Iterator[Row]:
    flavour, version = find_builder(b.engine)
    if not flavour:
        raise Skip(version)
    b.engine = flavour
    if flavour == "tensorrt" and not b.gpu:
        raise Skip(f"TensorRT {version} builds on a GPU only, and there is none")
    words = ("model", "build", str(b.model), "--engine", flavour, "--precision", b.precision)
    told = edged_json(*words, "--state-dir", str(b.state))
    b.plan = Path(told["path"])
    layers = ", ".join(f"{n} {p}" for p, n in (told["layers"] or {}).items()) or "layers not told"
    size = format_bytes(told["plan_bytes"])
    where = told["gpu"] or f"no GPU, for {', '.join(told['capabilities'])}"
    yield Row(
        "build",
        "pass",
        f"{flavour} {version}, {b.precision}: {told['build_s']:.1f} s, {size}, {layers}; on {where}",
    )


def layers(b: Bench) -> Iterator[Row]:
    """The engine's own layers with their times."""
    told = edged_json("inspect", str(_plan(b)), "--model", str(b.model))
    if not told["layers"]:
        raise Skip(f"the engine was not asked: {told['unloaded']}; store: {told['store']}")
    timed = [la["ms"] for la in told["layers"] if la["ms"] is not None]
    fused = sum(" + " in la["name"] for la in told["layers"])
    slowest = max(told["layers"], key=lambda la: la["ms"] or 0.0)
    text = f"{len(told['layers'])} layers, {fused} of them fused; {sum(timed):.3f} ms in {len(timed)}"
    yield Row("layers", "pass", f"{text}; slowest {slowest['name']}: {slowest['ms']} ms")


def compare(b: Bench) -> Iterator[Row]:
    """Outputs of plan and ONNX Runtime on the same pictures."""
    plan = _plan(b)
    if not b.gpu:
        raise Skip("there is no GPU to run the plan on")
    command = [sys.executable, str(Path(__file__).with_name("compare.py")), str(b.model), str(plan), b.engine]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=_environment()
    )
    if done.returncode:
        raise EdgedError(f"the comparison failed with exit status {done.returncode}: {last_words(done)}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    least = COSINE[b.precision]
    for name, a in told["outputs"].items():
        text = f"cosine {a['cosine']:.6f} (at least {least}), greatest difference {a['difference']:.3g}"
        good = a["cosine"] >= least
        yield Row(f"agrees: {name}", "pass" if good else "fail", f"{text}, {told['samples']} pictures")


def _environment() -> dict[str, str]:
    """The folder of the scripts, and where edged was found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def dla(b: Bench) -> Iterator[Row]:
    """A plan for the deep learning accelerator, where there is one."""
    if b.engine != "tensorrt" or not b.gpu:
        raise Skip("a deep learning accelerator is a Jetson's (Xavier, Orin NX, AGX Orin), with TensorRT")
    words = ("model", "build", str(b.model), "--engine", "tensorrt", "--precision", "fp16", "--dla", "0")
    done = edged(*words, "--json", "--state-dir", str(b.dla_state), good=tuple(range(256)))
    said = last_words(done)
    if done.returncode and _NO_DLA in said:
        raise Skip(said)
    if done.returncode:
        raise EdgedError(f"no plan for DLA core 0: {said}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    yield Row(
        "DLA",
        "pass",
        f"a plan for core 0 in {answer['build_s']:.1f} s; notes: {'; '.join(answer['notes']) or 'none'}",
    )


def running(b: Bench) -> Iterator[Row]:
    """All cameras, or a drawn picture 30 times a second, through the model for `seconds`."""
    uses_plan = b.plan is not None and bool(b.gpu)
    sources = {f"camera{i}": f'kind = "v4l2"\ndevice = "{c}"' for i, c in enumerate(b.cameras)} or {
        "pattern": PATTERN
    }
    b.config = write_config(b, engine=b.engine if uses_plan else "onnxruntime", sources=sources)
    with watching(b.root) as heat:
        try:
            words = ("run", str(b.config), "--seconds", f"{b.seconds:g}")
            b.snapshot = edged_json(*words, timeout_s=b.seconds + START_S)
        except EdgedError as e:
            yield Row("running", "fail", e.message)
    if b.snapshot:
        yield from _figures(b, b.snapshot)
    yield from heat.rows()


def _figures(b: Bench, told: dict[str, Any]) -> Iterator[Row]:
    """Of the snapshot at the end."""
    facts = next(iter(told["models"].values()))["facts"]
    for name, p in told["pipelines"].items():
        exact = p["offered"] == p["inferred"] + p["dropped"] + p["failed"]
        good = p["inferred"] > 0 and not p["failed"] and not told["errors"]
        on = facts.get("engine", "unknown engine")
        text = f"{p['fps']:.1f} frames/s for {told['wall_s']:.0f} s on {on}; {p['failed']} failed"
        yield Row(f"running: {name}", "pass" if good else "fail", "; ".join([text, *told["errors"]]))
        age = p["stages"]["age"]
        text = f"p50 {age['p50_ms']:.1f} ms, p99 {age['p99_ms']:.1f} (below {b.age_ms:g} wanted), "
        text += f"worst {age['max_ms']:.1f}"
        yield Row(f"age: {name}", "pass" if age["p99_ms"] < b.age_ms else "fail", text)
        early = p["dropped_at_start"]
        share = (p["dropped"] - early) / max(1, p["offered"] - early)
        text = f"offered {p['offered']} = inferred {p['inferred']} + dropped {p['dropped']} + failed {p['failed']}"
        text += f"; {early} of the dropped while the model warmed up, {share:.2%} of the frames after that "
        text += f"(at most {b.max_drops:.2%} wanted)"
        good = exact and share <= b.max_drops
        yield Row(f"drops: {name}", "pass" if good else "fail", f"{text}; {p['lost']} lost before")
    yield _graph(b, facts)


def _graph(b: Bench, facts: dict[str, Any]) -> Row:
    work = str(facts.get("work", "not told"))
    if not b.gpu:
        return Row("graph capture", "skip", "there is no GPU")
    return Row("graph capture", "pass" if work.startswith("graph") else "fail", work)


def _plan(b: Bench) -> Path:
    if b.plan is None:
        raise Skip("no plan was built")
    return b.plan


PATTERN = 'kind = "pattern"\nsize = [1280, 720]\nrate = 30.0'
CONFIG = """\
[device]
id = "acceptance"

[runtime]
device = "auto"
state_dir = "{state}"

[models.m]
path = "{model}"
engine = "{engine}"

[sinks.bus]
kind = "zmq"
bind = "{url}"
"""


def write_config(b: Bench, *, engine: str, sources: dict[str, str]) -> Path:
    """A pipeline for each source, `sources`: name -> the lines of its table."""
    from _demo.daemon import free_url

    text = CONFIG.format(state=b.state, model=b.model, engine=engine, url=free_url())
    for name, lines in sources.items():
        text += f'\n[sources.{name}]\n{lines}\n\n[pipelines.{name}]\nsource = "{name}"\nmodel = "m"\nsinks = ["bus"]\n'
    file = b.folder / "edged.toml"
    file.write_text(text)
    return file


STEPS: tuple[Step, ...] = (
    ("model", model),
    ("doctor", doctor),
    ("build", build),
    ("layers", layers),
    ("agrees", compare),
    ("DLA", dla),
    ("running", running),
)
