"""Where the time of an ONNX file goes on ONNX Runtime: its own profile of each node, after its own fusions."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edged.engines.onnxruntime import package, reason
from edged.engines.onnxruntime_cuda import preload
from edged.errors import EngineError

WARM_UPS = 2  # the first run allocates, the second packs weights
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ORT_TYPES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class NodeTime:
    """A node that ONNX Runtime runs; `ms` is the median of the runs. `layer`: it is one of the file's, by name."""

    name: str
    op: str
    provider: str
    output: tuple[int, ...] | None
    ms: float
    share: float  # of the sum over nodes


@dataclass(frozen=True, slots=True)
class Times:
    """`of`: what `ms` of a node is: its "work", or only its "launch", where a GPU does the work behind the CPU's back.

    `total_ms`: of a whole run, median, with the profile's own cost. `ops`: what the file's nodes became.
    """

    runtime: str
    of: Literal["work", "launch"]
    runs: int
    total_ms: float
    nodes: tuple[NodeTime, ...]
    ops: Mapping[str, int]


def measure(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    runs: int,
    threads: int,
) -> Times:
    """Run the file on noise. EngineError where ONNX Runtime will not. `threads` 0: the cores this process may use."""
    ort = package()
    if device == "cuda":
        preload(ort)
    with tempfile.TemporaryDirectory(prefix="edged-inspect-") as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as edged runs it
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        try:
            providers = [_PROVIDERS[device], _PROVIDERS["cpu"]][: 1 if device == "cpu" else 2]
            session = ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
            feeds = {i.name: _noise(i, shapes.get(i.name)) for i in session.get_inputs()}
            for _ in range(WARM_UPS + runs):
                session.run(None, feeds)
            events = json.loads(Path(session.end_profiling()).read_text())
        except EngineError:
            raise
        except Exception as e:
            raise EngineError(
                f"{path}: ONNX Runtime {ort.__version__} does not run it on {device}: {reason(e)}",
                hint="edged inspect --no-run shows the layers alone; --shape gives open sizes",
            ) from e
    if device == "cuda" and _PROVIDERS["cuda"] not in session.get_providers():
        raise EngineError(
            f"{path}: ONNX Runtime has no CUDA provider here", hint="edged doctor --only onnxruntime says why"
        )
    return _times(
        events, f"ONNX Runtime {ort.__version__}, {device}", "work" if device == "cpu" else "launch", runs
    )


def _noise(tensor: Any, shape: tuple[int, ...] | None) -> Any:
    """Values of the input's type; EngineError where its shape is open."""
    fixed = shape or tuple(tensor.shape)
    if not all(isinstance(d, int) and d > 0 for d in fixed):
        raise EngineError(
            f"the shape of input '{tensor.name}' is open: {list(tensor.shape)}",
            hint=f"--shape {tensor.name}={','.join(str(d) if isinstance(d, int) else 'N' for d in fixed)}",
        )
    element = tensor.type.removeprefix("tensor(").removesuffix(")")
    try:
        dtype = np.dtype(_ORT_TYPES.get(element, element))
    except TypeError as e:
        raise EngineError(
            f"input '{tensor.name}' is {tensor.type}, which cannot be drawn",
            hint="--no-run shows the layers alone",
        ) from e
    return (np.random.default_rng(1).random(fixed) * 255).astype(dtype)


def _times(events: list[dict[str, Any]], runtime: str, of: Literal["work", "launch"], runs: int) -> Times:
    taken: dict[tuple[str, str], list[float]] = {}
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for event in _kernels(events):
        args = event["args"]
        key = (args["node_index"], event["name"].removesuffix("_kernel_time"))
        taken.setdefault(key, []).append(event["dur"] / 1000)
        facts[key] = args
    medians = {k: statistics.median(v[WARM_UPS:] or v) for k, v in taken.items()}
    whole = sum(medians.values()) or 1.0
    nodes = tuple(
        NodeTime(
            name=key[1],
            op=facts[key]["op_name"],
            provider=facts[key]["provider"].removesuffix("ExecutionProvider"),
            output=_shape(facts[key]),
            ms=ms,
            share=ms / whole,
        )
        for key, ms in medians.items()
    )
    totals = [e["dur"] / 1000 for e in events if e.get("name") == "model_run"][WARM_UPS:]
    ops = dict(Counter(n.op for n in nodes).most_common())
    return Times(runtime, of, runs, statistics.median(totals) if totals else 0.0, nodes, ops)


def _kernels(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time"))


def _shape(args: dict[str, Any]) -> tuple[int, ...] | None:
    """[{"float": [1, 12, 208, 208]}] -> the first output's."""
    for output in args.get("output_type_shape", ()):
        for shape in output.values():
            return tuple(shape)
    return None
