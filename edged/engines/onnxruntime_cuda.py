"""What ONNX Runtime needs on a GPU: its CUDA provider on our stream and our addresses, and one maker of graphs.

Nothing is allocated after the warm-up: the provider's arena grows by what is asked for and keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from edged.errors import EngineError
from edged.frames import Memory
from edged.interfaces import Device, Stream

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# options that edged sets itself: what to write instead
_OURS = {
    "device_id": "set gpu under [models.X]",
    "user_compute_stream": "leave it out: the runner's stream is used",
    "has_user_compute_stream": "leave it out: the runner's stream is used",
    "enable_cuda_graph": "write graph = 'onnxruntime'; that excludes edged's own graph (graph = 'edged'), which cannot "
    "capture another one",
    "gpu_mem_limit": "write gpu_memory",
    "cudnn_conv_algo_search": "write conv_search",
    "use_tf32": "write tf32",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a session runs. `kind` and `number`: of the device that tensors are bound to."""

    providers: Sequence[Any]
    kind: str
    number: int
    memory: Memory
    eager: str
    fact: str
    run_entries: Mapping[str, str]
    own_graph: bool = False


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """A view of OnnxRuntimeEngine.Options: the part for GPUs."""

    options: Any

    def problems(self) -> Iterator[tuple[str, str]]:
        """(key, "what is wrong; remedy")."""
        for key in self.options.cuda_options:
            if key in _OURS:
                yield f"cuda_options.{key}", f"is edged's to set; {_OURS[key]}"
        if "disable_synchronize_execution_providers" in self.options.cuda_options:
            yield "cuda_options", "disable_synchronize_execution_providers is always on; leave it out"

    def of_provider(self, number: int, stream: int) -> dict[str, str]:
        o = self.options
        out = {
            "device_id": str(number),
            "user_compute_stream": str(stream),
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": o.conv_search.upper(),
            "use_tf32": str(int(o.tf32)),
            "do_copy_in_default_stream": "1",
            "enable_cuda_graph": str(int(o.graph == "onnxruntime")),
            **o.cuda_options,
        }
        if o.gpu_memory is not None:
            out["gpu_mem_limit"] = str(o.gpu_memory)
        return out


def provider_of(options: CudaOptions, device: Device | None, stream: Stream | None) -> Provider:
    """The provider that suits a device and its stream."""
    if device is None or stream is None or device.name == "cpu":
        return Provider([_CPU], "cpu", 0, Memory.HOST, "", "on the CPU", {})
    if device.name != "cuda":
        raise EngineError(
            f"engine 'onnxruntime' cannot run on device '{device.name}'", hint="use engine = 'tensorrt'"
        )
    number, graph = getattr(device, "gpu", 0), options.options.graph
    why = {
        "edged": "",
        "onnxruntime": 'ONNX Runtime makes a graph of the inference (graph = "onnxruntime")',
        "off": 'graph = "off"',
    }
    return Provider(
        providers=[(_CUDA, options.of_provider(number, stream.handle)), _CPU],
        kind="cuda",
        number=number,
        memory=Memory.DEVICE,
        eager=why[graph],
        fact="CUDA provider on the runner's stream",
        run_entries={"disable_synchronize_execution_providers": "1"},
        own_graph=graph == "onnxruntime",
    )


def graph_id(run_options: Any, provider: Provider, number: int) -> None:
    """ONNX Runtime's own graphs are told apart by this: one for each set of addresses."""
    if provider.own_graph:
        run_options.add_run_config_entry("gpu_graph_id", str(number))


def preload(ort: Any) -> None:
    """Load cuDNN and cuBLAS from pip's packages if that is where they are; elsewhere the system finds them."""
    load = getattr(ort, "preload_dlls", None)  # from 1.21 on
    if load is not None and find_spec("nvidia") is not None:
        load(directory="")


def check_session(who: str, session: Any, provider: Provider) -> None:
    """EngineError where ONNX Runtime has quietly gone to the CPU."""
    wanted = provider.providers[0]
    name = wanted if isinstance(wanted, str) else wanted[0]
    have = session.get_providers()
    if name not in have:
        raise EngineError(
            f"{who}: ONNX Runtime has no {name} here (it has {', '.join(have)})",
            hint="install onnxruntime-gpu in place of onnxruntime, with the cuDNN 9 and cuBLAS of its CUDA version",
        )
