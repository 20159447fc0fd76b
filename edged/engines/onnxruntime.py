"""ONNX Runtime, reading and writing memory of the runner's region in place: the host's, or a GPU's on our stream.

A session is loaded for one set of shapes: open dimensions are fixed before it is built, so that ONNX Runtime
plans for them. Outputs are bound to memory, so their shapes must be known at load: what the graph leaves open
is measured by running it there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from edged.config.schema import Bytes, Table
from edged.engines.binding import call_on, check_views
from edged.engines.onnxruntime_cuda import (
    CudaOptions,
    check_session,
    graph_id,
    preload,
    provider_of,
)
from edged.errors import EngineError, MissingPackage
from edged.frames import Memory
from edged.interfaces import Device, Execution, Stream
from edged.memory import Region, Want
from edged.models.inspect import TensorFacts, dtype_of, read_graph
from edged.models.load import check_hash
from edged.models.model import Model
from edged.tensors import TensorSpec, TensorView

_SILENT = 4  # ONNX Runtime's severities: 4 is fatal; its reasons come as exceptions, too
_REASON_LENGTH = 300
# the first run allocates and packs weights, the second shows the steady state; ONNX Runtime's own CUDA graph is
# captured by the second
_WARM_UP_RUNS = 3

_OPTIMIZATION = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
# names of ONNX Runtime for element types that differ from ours
_ORT_TYPES = {"float": "float32", "double": "float64"}


class OnnxRuntimeEngine:
    """One session. Loaded, bound and closed by its runner's thread; executions run on that runner's stream."""

    class Options(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """[models.X.options] of engine = "onnxruntime".

        `threads`: of one operator, 0 = the cores this process may use; `inter_threads`: operators at once, 1 =
        one after the other. `spinning`: idle threads burn their core to wake sooner; off, since they starve the
        other stages on small machines. `session_options`: ONNX Runtime's own configuration entries.

        On a GPU: `graph`: who makes a CUDA graph of a frame: "edged" (preprocessing, inference and the copy of
        the outputs, one launch), "onnxruntime" (inference alone), "off" (operator by operator). `gpu_memory`: ONNX
        Runtime's own memory grows to so much at most. `conv_search`: how cuDNN's algorithms are chosen at boot,
        "exhaustive" tries all. `tf32`: float32 products in 10 bits of precision, faster. `cuda_options`: other options
        of the CUDA provider, as ONNX Runtime documents them.
        """

        threads: Annotated[int, Meta(ge=0, le=1024)] = 0
        inter_threads: Annotated[int, Meta(ge=1, le=1024)] = 1
        spinning: bool = False
        graph_optimization: Literal["all", "extended", "basic", "off"] = "all"
        session_options: Mapping[str, str] = {}
        graph: Literal["edged", "onnxruntime", "off"] = "edged"
        gpu_memory: Bytes | None = None
        conv_search: Literal["exhaustive", "heuristic", "default"] = "exhaustive"
        tf32: bool = False
        cuda_options: Mapping[str, str] = {}

        def problems(self) -> Iterator[tuple[str, str]]:
            """Options that exclude each other."""
            return CudaOptions(self).problems()

    def __init__(
        self, model: Model, options: Options, device: Device | None = None, stream: Stream | None = None
    ) -> None:
        """Load the model's file, to run on `stream` of `device` (None: the CPU, on any of its streams).

        Raises ModelError (the file is not what model.toml says) or EngineError.
        """
        self._who = f"model {model.name}"
        self._ort = package()
        check_hash(model.file, model.sha256)
        self.file_hash = model.sha256
        facts = read_graph(model.file).inputs
        shapes = {t.name: self._resolve(t, _asked(model, t.name)) for t in facts}
        self._provider = provider_of(CudaOptions(options), device, stream)
        if self._provider.memory is Memory.DEVICE:
            preload(self._ort)
        self._session: Any = self._load(model, options, _named_dimensions(self._who, facts, shapes))
        check_session(self._who, self._session, self._provider)
        self.inputs = tuple(
            TensorSpec(i.name, shapes[i.name], self._dtype(i)) for i in self._session.get_inputs()
        )
        if model.input.tensor not in shapes:
            raise EngineError(
                f"{self._who}: the file has no input '{model.input.tensor}'",
                hint=f"set tensor under [input] in model.toml to one of: {', '.join(shapes)}",
            )
        self._bound = 0  # executions so far
        self.outputs = self._measure_outputs()

    @property
    def eager(self) -> str:
        """Why it may not be captured."""
        return self._provider.eager

    @property
    def facts(self) -> Mapping[str, str]:
        """How it runs, in words."""
        return {"engine": f"onnxruntime {self._ort.__version__}, {self._provider.fact}"}

    def wants(self) -> Sequence[Want]:
        """Nothing: ONNX Runtime's workspace is its own arena, outside of regions."""
        return ()

    def bind(self, views: Mapping[str, TensorView], region: Region) -> OnnxRuntimeExecution:
        """Bind every tensor to its memory, in place; contents may change between runs without binding again."""
        if self._session is None:
            raise EngineError(f"{self._who}: the engine is closed", hint="bind before close")
        check_views(self._who, (*self.inputs, *self.outputs), views, self._provider.memory)
        binding, place = self._session.io_binding(), self._provider
        for tensors, bind in ((self.inputs, binding.bind_input), (self.outputs, binding.bind_output)):
            for t in tensors:
                bind(t.name, place.kind, place.number, t.dtype.type, list(t.shape), views[t.name].address)
        run_options = self._new_run_options()
        graph_id(run_options, place, self._bound)
        self._bound += 1
        kind = OnnxRuntimeExecution if place.memory is Memory.HOST else OnnxRuntimeGpuExecution
        return kind(self._who, self._session, run_options, binding, views)

    def _new_run_options(self) -> Any:
        run_options = self._ort.RunOptions()
        run_options.log_severity_level = _SILENT
        for key, value in self._provider.run_entries.items():
            run_options.add_run_config_entry(key, value)
        return run_options

    def warm_up(self, execution: Execution, stream: Stream) -> None:
        """Run on whatever the inputs hold; waits. Raises what the first frame would."""
        for _ in range(_WARM_UP_RUNS):
            execution.enqueue(stream)
            stream.synchronize()

    def close(self) -> None:
        """Drop the session; it goes when its last execution is closed. Idempotent."""
        self._session = None

    def _load(self, model: Model, options: Options, dimensions: Mapping[str, int]) -> Any:
        ort = self._ort
        settings = ort.SessionOptions()
        settings.log_severity_level = _SILENT
        settings.intra_op_num_threads = options.threads or len(os.sched_getaffinity(0))
        settings.inter_op_num_threads = options.inter_threads
        if options.inter_threads > 1:
            settings.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        settings.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, _OPTIMIZATION[options.graph_optimization]
        )
        spinning = str(int(options.spinning))
        entries = {"session.intra_op.allow_spinning": spinning, "session.inter_op.allow_spinning": spinning}
        try:
            for key, value in {**entries, **options.session_options}.items():
                settings.add_session_config_entry(key, value)
            for name, size in dimensions.items():
                settings.add_free_dimension_override_by_name(name, size)
            # without enable_fallback=0 ONNX Runtime prints to stdout and tries again
            return ort.InferenceSession(
                str(model.file), settings, providers=self._provider.providers, enable_fallback=0
            )
        except Exception as e:  # ONNX Runtime's errors have no base class of their own
            raise EngineError(
                f"{self._who}: ONNX Runtime {ort.__version__} refuses {model.file}: {reason(e)}",
                hint="export the model again for this version, or check it with edged model verify",
            ) from e

    def _resolve(self, tensor: TensorFacts, asked: tuple[int, ...] | None) -> tuple[int, ...]:
        """The full shape of an input: what model.toml asks for, where the file does not contradict it."""
        shape = asked or tensor.fixed
        if shape is None:
            raise EngineError(
                f"{self._who}: the shape of {tensor} is open",
                hint=f'write it under [shapes] in model.toml: "{tensor.name}" = [1, …]',
            )
        dims = tensor.dims if tensor.dims is not None else shape
        fits = len(dims) == len(shape) and all(
            isinstance(d, str) or d == s for d, s in zip(dims, shape, strict=True)
        )
        if not fits:
            raise EngineError(
                f"{self._who}: {tensor} in the file, model.toml makes it {list(shape)}",
                hint="correct size and layout under [input], or change the file: edged model new … --shape",
            )
        return shape

    def _dtype(self, value: Any) -> np.dtype[Any]:
        """The dtype of an input or output of the session; its type reads "tensor(float)"."""
        element = value.type.removeprefix("tensor(").removesuffix(")")
        dtype = dtype_of(_ORT_TYPES.get(element, element))
        if not value.type.startswith("tensor(") or dtype is None:
            raise EngineError(
                f"{self._who}: '{value.name}' is {value.type}, which edged cannot read",
                hint="export the model with tensors of numbers as inputs and outputs",
            )
        return dtype

    def _measure_outputs(self) -> tuple[TensorSpec, ...]:
        """Names, dtypes and full shapes; open shapes are those of a run on zeros, the same on noise.

        Raises EngineError where they follow the picture: such outputs have no memory to be bound to.
        """
        found = self._session.get_outputs()
        dtypes = [self._dtype(o) for o in found]
        # [] is a scalar or an unknown rank
        if all(o.shape and all(isinstance(d, int) and d > 0 for d in o.shape) for o in found):
            shapes = [tuple(o.shape) for o in found]
        else:
            shapes, other = self._run_once(noise=False), self._run_once(noise=True)
            for o, a, b in zip(found, shapes, other, strict=True):
                if a != b or 0 in a:
                    raise EngineError(
                        f"{self._who}: the shape of output '{o.name}' depends on the picture "
                        f"({list(a)} on black, {list(b)} on noise)",
                        hint="export the model without NMS inside, or with a fixed number of rows; edged does the NMS",
                    )
        return tuple(TensorSpec(o.name, s, d) for o, s, d in zip(found, shapes, dtypes, strict=True))

    def _run_once(self, *, noise: bool) -> list[tuple[int, ...]]:
        feeds = {t.name: _noise(t) if noise else np.zeros(t.shape, t.dtype) for t in self.inputs}
        try:
            return [np.shape(o) for o in self._session.run(None, feeds, self._new_run_options())]
        except Exception as e:
            raise EngineError(
                f"{self._who}: cannot run with {', '.join(map(str, self.inputs))}: {reason(e)}",
                hint="the model may want another size: see [input] in model.toml",
            ) from e


class OnnxRuntimeExecution:
    """A session bound to one set of tensors; keeps their memory alive until closed."""

    def __init__(
        self, who: str, session: Any, run_options: Any, binding: Any, views: Mapping[str, TensorView]
    ) -> None:
        self._who = who
        self._session, self._run_options, self._binding = session, run_options, binding
        self._views = dict(views)

    def enqueue(self, stream: Stream) -> None:
        """Queue one inference. Failures arise where the stream is waited for, as EngineError."""
        if self._session is None:
            raise EngineError(f"{self._who}: enqueue after close", hint="bind a new execution")
        call_on(stream, self._run)

    def close(self) -> None:
        """Forget the memory. The stream must be done with it. Idempotent."""
        self._session = self._binding = None
        self._views.clear()

    def _run(self) -> None:
        """On the stream's thread; on a GPU on the runner's, where it only queues kernels."""
        try:
            self._session.run_with_iobinding(self._binding, self._run_options)
        except Exception as e:
            raise EngineError(
                f"{self._who}: inference failed: {reason(e)}", hint="edged model verify runs the model alone"
            ) from e


class OnnxRuntimeGpuExecution(OnnxRuntimeExecution):
    """One whose session works on the stream that it was loaded for: a run queues kernels there, and may be captured."""

    def enqueue(self, stream: Stream) -> None:
        """Queue one inference; no wait. What the GPU reports arises where the stream is waited for."""
        if self._session is None:
            raise EngineError(f"{self._who}: enqueue after close", hint="bind a new execution")
        self._run()


def reason(e: Exception) -> str:
    """ONNX Runtime's words in one line, without its codes and its build machine's paths."""
    words = [w for w in str(e).split() if not w.startswith("/onnxruntime_src/")]
    text = " ".join(words)
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= _REASON_LENGTH else f"{text[:_REASON_LENGTH]}…"


def package() -> Any:
    """The module onnxruntime. MissingPackage where it is absent."""
    # From 1.29 on, ONNX Runtime sends usage data to Microsoft and keeps a database open in ~/.cache unless this
    # is set before it is imported (its Privacy.md). A value that the user has set stays.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as e:
        raise MissingPackage("onnxruntime", needed_by="engine 'onnxruntime'", extra="ort") from e
    return onnxruntime


def _asked(model: Model, name: str) -> tuple[int, ...] | None:
    """What model.toml makes of an input's shape."""
    return model.shapes.get(name) or (model.input.shape() if name == model.input.tensor else None)


def _named_dimensions(
    who: str, inputs: Sequence[TensorFacts], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Sizes of the dimensions that have a name in the file; one name is one size."""
    sizes: dict[str, int] = {}
    for t in inputs:
        for dim, size in zip(t.dims or (), shapes[t.name], strict=False):
            if isinstance(dim, str) and dim != "?" and sizes.setdefault(dim, size) != size:
                raise EngineError(
                    f"{who}: dimension '{dim}' of {t} would be {sizes[dim]} and {size}",
                    hint="dimensions of one name have one size: correct [input] size or [shapes] in model.toml",
                )
    return sizes


def _noise(tensor: TensorSpec) -> npt.NDArray[Any]:
    values = np.random.default_rng(0).integers(0, 256, tensor.shape)
    return values.astype(tensor.dtype)
