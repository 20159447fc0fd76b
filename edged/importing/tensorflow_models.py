"""TensorFlow: a SavedModel, Keras, or TensorFlow Lite, through tf2onnx. On the CPU."""

from __future__ import annotations

import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edged import children
from edged.errors import MissingPackage, ModelError
from edged.importing.original import Array, Asked, failed, resolve
from edged.tensors import TensorSpec

_OPSET = 17
_EXTRA = "import-tensorflow"
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}
_SIGNATURE = "serving_default"


def _tensorflow(needed_by: str) -> Any:
    # read when TensorFlow is imported: else it tells of instruction sets, rounding, and GPUs that it does not find
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import tensorflow
    except ImportError as e:
        raise MissingPackage("tensorflow", needed_by=needed_by, extra=_EXTRA) from e
    return tensorflow


def _convert(path: Path, file: Path, how: Sequence[str]) -> None:
    """Run tf2onnx, in a process of its own: it writes what it likes to its output."""
    command = children.command("tf2onnx.convert", *how, "--output", str(file), "--opset", str(_OPSET))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=children.environment())
    if "No module named" in done.stderr and "tf2onnx" in done.stderr:
        raise MissingPackage("tf2onnx", needed_by=f"{path}", extra=_EXTRA)
    if done.returncode or not file.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it gave no reason"]
        raise ModelError(
            f"{path}: tf2onnx cannot convert it: {lines[-1][:300]}",
            hint=f"its own words: python -m tf2onnx.convert {' '.join(how)} --output model.onnx",
        )


class SavedModel:
    """A folder of tf.saved_model.save, by its signature serving_default."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self._tf, self._path = _tensorflow("a SavedModel"), path
        self.framework = f"TensorFlow {self._tf.__version__}"
        try:
            self._loaded = self._tf.saved_model.load(str(path))
        except Exception as e:  # of TensorFlow's loader, which has many
            raise failed(f"{path}: TensorFlow cannot load it", e, "save it again with this version") from e
        if _SIGNATURE not in self._loaded.signatures:
            known = ", ".join(self._loaded.signatures) or "none"
            raise ModelError(
                f"{path}: has no signature '{_SIGNATURE}', but {known}",
                hint="tf.saved_model.save(model, folder, signatures=...), or Keras' model.export(folder)",
            )
        self._function = self._loaded.signatures[_SIGNATURE]
        given = self._function.structured_input_signature[1]
        self.inputs = tuple(
            resolve(str(path), name, _dims(spec.shape), np.dtype(spec.dtype.as_numpy_dtype), asked)
            for name, spec in sorted(given.items())
        )

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        try:
            found = self._function(**{n: self._tf.constant(a) for n, a in feeds.items()})
        except Exception as e:  # of the model's own code
            raise _does_not_run(self.inputs, e) from e
        return [found[name].numpy() for name in sorted(found)]

    def export(self, file: Path) -> None:
        _convert(self._path, file, _saved(self._path))
        _sort_outputs(file)


class Keras:
    """A .keras or .h5 file, exported as a SavedModel in a folder that is gone afterwards."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self._tf, self._path = _tensorflow("a Keras model"), path
        self.framework = f"Keras {self._tf.keras.__version__}"
        try:
            self._model = self._tf.keras.models.load_model(str(path), compile=False)
        except Exception as e:  # of Keras' loader, which has many
            raise failed(
                f"{path}: Keras cannot load it",
                e,
                "in the program that made it: model.export(folder); import that folder",
            ) from e
        self.inputs = tuple(
            resolve(str(path), t.name.partition(":")[0], _dims(t.shape), np.dtype(_text(t.dtype)), asked)
            for t in self._model.inputs
        )

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        arrays = [self._tf.constant(feeds[t.name]) for t in self.inputs]
        try:
            found = self._model(arrays[0] if len(arrays) == 1 else arrays, training=False)
        except Exception as e:  # of the model's own code
            raise _does_not_run(self.inputs, e) from e
        return [t.numpy() for t in _tensors(found)]

    def export(self, file: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="edged-import-") as folder:
            export = getattr(self._model, "export", None)
            try:
                if export is not None:
                    export(folder, verbose=False)
                else:
                    self._tf.saved_model.save(self._model, folder)
            except Exception as e:  # of TensorFlow's writer, which has many
                raise failed(
                    f"{self._path}: cannot be exported", e, "export it in the program that made it"
                ) from e
            _convert(self._path, file, _saved(Path(folder)))


class TfLite:
    """A .tflite file."""

    def __init__(self, path: Path, asked: Asked) -> None:
        self._tf, self._path = _tensorflow("a TensorFlow Lite model"), path
        self.framework = f"TensorFlow Lite {self._tf.__version__}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that its home is to be another package
                self._interpreter = self._tf.lite.Interpreter(model_path=str(path))
        except Exception as e:  # of the interpreter, which has many
            raise failed(f"{path}: TensorFlow Lite cannot load it", e, "convert the original again") from e
        details = self._interpreter.get_input_details()
        self.inputs = tuple(
            resolve(str(path), d["name"], _dims(d["shape_signature"]), np.dtype(d["dtype"]), asked)
            for d in details
        )
        for detail, tensor in zip(details, self.inputs, strict=True):
            self._interpreter.resize_tensor_input(detail["index"], tensor.shape)
        self._interpreter.allocate_tensors()
        self._places = [d["index"] for d in details]

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        for place, tensor in zip(self._places, self.inputs, strict=True):
            self._interpreter.set_tensor(place, feeds[tensor.name])
        try:
            self._interpreter.invoke()
        except Exception as e:  # of the interpreter
            raise _does_not_run(self.inputs, e) from e
        return [self._interpreter.get_tensor(d["index"]) for d in self._interpreter.get_output_details()]

    def export(self, file: Path) -> None:
        _convert(self._path, file, ["--tflite", str(self._path)])


def _saved(folder: Path) -> list[str]:
    return ["--saved-model", str(folder), "--signature_def", _SIGNATURE]


def _sort_outputs(file: Path) -> None:
    """By name, as `SavedModel.run` gives them: a signature has names and no order."""
    import onnx

    model = onnx.load(str(file))
    ordered = sorted(model.graph.output, key=lambda o: o.name)
    del model.graph.output[:]
    model.graph.output.extend(ordered)
    onnx.save(model, str(file))


def _dims(shape: Any) -> list[int | None] | None:
    """None: the rank is open; -1 and None of a dimension: it is."""
    if getattr(shape, "rank", 0) is None:
        return None
    return [None if d is None or int(d) < 0 else int(d) for d in shape]


def _text(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _tensors(found: Any) -> Iterator[Any]:
    """The tensors in what a model returns, in the order in which it is exported: of a mapping by name."""
    if isinstance(found, Mapping):
        for name in sorted(found):
            yield from _tensors(found[name])
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _tensors(value)
    else:
        yield found


def _does_not_run(inputs: Sequence[TensorSpec], e: Exception) -> ModelError:
    return failed(
        f"the model does not run on {', '.join(map(str, inputs))}", e, "say another --size or --shape"
    )
