"""PyTorch: an ExportedProgram (.pt2) through torch's exporter, TorchScript through its older one. On the CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edged.errors import MissingPackage, ModelError
from edged.importing.original import Array, Asked, failed, resolve
from edged.tensors import TensorSpec

_OPSET = 18  # what torch's exporter is made for; TensorRT 10.3 and ONNX Runtime 1.19 know it
_EXPORT = "in the program that has the model: torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2')"


def _torch(needed_by: str) -> Any:
    try:
        import torch
    except ImportError as e:
        raise MissingPackage("torch", needed_by=needed_by, extra="import-torch") from e
    return torch


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's words about every operator of torchvision that is absent, and of its own that grow old."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


class ExportedProgram:
    """A .pt2 file of torch.export.save."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self._torch, self._path = _torch("an ExportedProgram (.pt2)"), path
        self.framework = f"PyTorch {self._torch.__version__}"
        try:
            with _quiet():
                self._program = self._torch.export.load(str(path))
                self._module = self._program.module()
        except Exception as e:  # of torch's loader, which has many
            raise failed(
                f"{path}: torch cannot load it", e, f"save it with this version of torch: {_EXPORT}"
            ) from e
        self._open = False  # whether a dimension is, in the file
        self.inputs = tuple(self._inputs(asked))

    def _inputs(self, asked: Asked) -> Iterator[TensorSpec]:
        names = set(self._program.graph_signature.user_inputs)
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name in names:
                value = node.meta["val"]
                if not isinstance(value, self._torch.Tensor):
                    raise ModelError(
                        f"{self._path}: input '{node.name}' is no tensor", hint="export it with tensors alone"
                    )
                dims = [d if isinstance(d, int) else None for d in value.shape]
                self._open |= None in dims
                yield resolve(str(self._path), node.name, dims, _numpy_dtype(value.dtype), asked)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        return _run(self._torch, self._module, [feeds[t.name] for t in self.inputs])

    def export(self, file: Path) -> None:
        torch = self._torch
        try:
            import onnxscript  # noqa: F401  # of torch's exporter
        except ImportError as e:
            raise MissingPackage("onnxscript", needed_by="torch's ONNX exporter", extra="import-torch") from e
        try:
            with _quiet():
                program = self._program
                if self._open:  # the exporter stumbles over open sizes, and edged runs one
                    example = tuple(torch.from_numpy(np.zeros(t.shape, t.dtype)) for t in self.inputs)
                    program = torch.export.export(self._module, example)
                made = torch.onnx.export(program, dynamo=True, opset_version=_OPSET, verbose=False)
                made.save(str(file))
        except Exception as e:  # of torch's exporter, which has many
            raise failed(
                f"{self._path}: torch {torch.__version__} cannot export it to ONNX",
                e,
                "try a newer torch and onnxscript",
            ) from e


class TorchScript:
    """A file of torch.jit.save; torch itself gives TorchScript up, so later versions may not export it."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self._torch, self._path = _torch("TorchScript"), path
        self.framework = f"PyTorch {self._torch.__version__}"
        try:
            with _quiet():
                self._module = self._torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as e:  # of torch's loader, which has many
            raise failed(f"{path}: torch cannot load it", e, _EXPORT) from e
        names = [v.debugName().partition(".")[0] for v in list(self._module.graph.inputs())[1:]]
        if len(names) != 1:
            raise ModelError(
                f"{path}: has {len(names)} inputs ({', '.join(names)}); edged feeds one picture",
                hint="export the model with the other inputs as constants",
            )
        self.inputs = (resolve(str(path), names[0], None, np.dtype(np.float32), asked),)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        return _run(self._torch, self._module, [feeds[t.name] for t in self.inputs])

    def export(self, file: Path) -> None:
        torch, names = self._torch, [t.name for t in self.inputs]
        example = tuple(torch.zeros(t.shape) for t in self.inputs)
        try:
            with _quiet(), torch.no_grad():
                torch.onnx.export(
                    self._module, example, str(file), dynamo=False, opset_version=17, input_names=names
                )
        except Exception as e:  # of torch's exporter, which has many
            raise failed(
                f"{self._path}: torch {torch.__version__} cannot export TorchScript", e, _EXPORT
            ) from e


def _run(torch: Any, module: Any, arrays: Sequence[Array]) -> Sequence[Array]:
    with _quiet(), torch.no_grad():
        try:
            out = module(*(torch.from_numpy(a) for a in arrays))
        except Exception as e:  # of the model's own code
            shapes = ", ".join(str(list(a.shape)) for a in arrays)
            raise failed(f"the model does not run on {shapes}", e, "say another --size or --shape") from e
    return [t.numpy() for t in _tensors(torch, out)]


def _tensors(torch: Any, out: Any) -> Iterator[Any]:
    """The tensors in what a model returns, in the order of its containers."""
    if isinstance(out, torch.Tensor):
        yield out.detach().cpu()
    elif isinstance(out, Mapping):
        for value in out.values():
            yield from _tensors(torch, value)
    elif isinstance(out, list | tuple):
        for value in out:
            yield from _tensors(torch, value)


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    return np.dtype(str(dtype).removeprefix("torch."))
