"""Which framework a file is of, by its contents, then its name; for what cannot be imported, the way that is left."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from edged.errors import ModelError
from edged.models.files import open_file, unreadable

Kind = Literal["exported-program", "torchscript", "saved-model", "keras", "tflite"]
KINDS: dict[Kind, str] = {
    "exported-program": "PyTorch ExportedProgram",
    "torchscript": "TorchScript",
    "saved-model": "TensorFlow SavedModel",
    "keras": "Keras",
    "tflite": "TensorFlow Lite",
}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PYTORCH = "export it where its class is: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"

# suffix of a file -> what it is, and the way that is left
_OTHERS: dict[str, tuple[str, str]] = {
    ".onnx": ("is ONNX already", "edged model new {path} DIR"),
    ".caffemodel": (
        "is of Caffe, which is no longer maintained",
        "in an environment of its own: pip install caffe2onnx; python -m caffe2onnx.convert --prototxt NET.prototxt "
        "--caffemodel NET.caffemodel --onnx model.onnx; then edged model new model.onnx DIR",
    ),
    ".params": (
        "is of MXNet, which was retired in 2023",
        "in an environment with mxnet 1.9: mxnet.onnx.export_model('NET-symbol.json', 'NET-0000.params', "
        "[(1, 3, H, W)], numpy.float32, 'model.onnx'); then edged model new model.onnx DIR",
    ),
    ".uff": (
        "is UFF, which TensorRT reads no more since version 9",
        "go back to the TensorFlow graph that it was made of: python -m tf2onnx.convert --graphdef FROZEN.pb --inputs "
        "NAME:0 --outputs NAME:0 --output model.onnx; then edged model new model.onnx DIR",
    ),
    ".pb": (
        "is a frozen TensorFlow graph, which does not name its inputs and outputs",
        "name them: python -m tf2onnx.convert --graphdef {path} --inputs NAME:0 --outputs NAME:0 --output model.onnx; "
        "then edged model new model.onnx DIR",
    ),
    ".safetensors": ("holds weights without a network", _PYTORCH),
    ".ckpt": ("holds weights without a network", _PYTORCH),
    ".engine": (
        "is a TensorRT plan, which cannot be turned back",
        "import what it was made of, and build a plan of that: edged model build DIR",
    ),
}
_WHOLE = (".pt2", ".keras", ".h5", ".hdf5", ".tflite")  # these are recognized by their contents
_SAME = {
    ".prototxt": ".caffemodel",
    ".plan": ".engine",
    ".trt": ".engine",
    ".bin": ".safetensors",
}
_LIST = (
    "a PyTorch ExportedProgram (.pt2) or TorchScript (.pt, .pth), a TensorFlow SavedModel (a folder), Keras (.keras, "
    ".h5) or TensorFlow Lite (.tflite)"
)


def recognize(path: Path) -> Kind:
    """What `path` is. Nothing of it is run. ModelError with the way that is left for what cannot be imported."""
    if path.is_dir():
        return _folder(path)
    try:
        with open_file(path) as f:
            start = f.read(8)
    except OSError as e:
        raise unreadable(path, e) from e
    if start[4:8] == b"TFL3":
        return "tflite"
    if start == _HDF5:
        return "keras"
    if zipfile.is_zipfile(path):
        return _archive(path)
    raise _other(path)


def _folder(path: Path) -> Kind:
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        return "saved-model"
    raise ModelError(f"{path}: is a folder without saved_model.pb", hint=f"name {_LIST}")


def _archive(path: Path) -> Kind:
    """A zip archive: by what is in it, below the folder that PyTorch puts all into."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path}: is no whole archive: {e}", hint="save or copy it again") from e
    inside = {n.partition("/")[2] for n in names}
    if "archive_format" in inside or "serialized_exported_program.json" in names:
        return "exported-program"
    if any(n.startswith("code/") for n in inside):
        return "torchscript"
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    if "data.pkl" in inside:
        raise ModelError(
            f"{path}: is a pickle of PyTorch: weights alone, or a module that only its own program can load",
            hint=_PYTORCH,
        )
    raise _other(path)


def _other(path: Path) -> ModelError:
    suffix = path.suffix.lower()
    if path.name.lower().endswith("-symbol.json"):
        suffix = ".params"
    if suffix in (".pt", ".pth"):  # before version 1.6 torch.save wrote no archive
        return ModelError(f"{path}: is a pickle of PyTorch or damaged; edged loads no pickles", hint=_PYTORCH)
    if suffix in _WHOLE:
        return ModelError(f"{path}: is cut off or damaged, or no {suffix} file", hint="save or copy it again")
    known = _OTHERS.get(_SAME.get(suffix, suffix))
    if known is None:
        return ModelError(f"{path}: is of no kind that edged imports", hint=f"name {_LIST}")
    return ModelError(f"{path}: {known[0]}", hint=known[1].format(path=path))
