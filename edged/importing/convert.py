"""From a file of another framework to an ONNX file that is known to compute the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edged.importing import tensorflow_models, torch_models
from edged.importing.compare import TOLERANCE, Difference, compare
from edged.importing.original import Asked, Original
from edged.importing.recognize import KINDS, Kind, recognize


@dataclass(frozen=True, slots=True)
class Converted:
    """The ONNX file, what it was, and how far it is from the original: worst first, each within the tolerance."""

    file: Path
    kind: Kind
    framework: str
    differences: tuple[Difference, ...]

    @property
    def worst(self) -> Difference:
        return self.differences[0]


@contextmanager
def converted(path: Path, asked: Asked, tolerance: float = TOLERANCE) -> Iterator[Converted]:
    """The model in `path` as ONNX, for as long as the block lasts.

    ModelError: it cannot be loaded or exported, or computes something else; MissingPackage: its framework is absent.
    """
    kind = recognize(path)
    original = _open(kind, path, asked)
    with TemporaryDirectory(prefix="edged-import-") as folder:
        file = Path(folder) / "model.onnx"
        original.export(file)
        yield Converted(file, kind, original.framework, compare(original, file, tolerance))


def _open(kind: Kind, path: Path, asked: Asked) -> Original:
    # each imports its framework when it is made; an absent one is told of by name
    makers: dict[Kind, Callable[[Path, Asked], Original]] = {
        "exported-program": torch_models.ExportedProgram,
        "torchscript": torch_models.TorchScript,
        "saved-model": tensorflow_models.SavedModel,
        "keras": tensorflow_models.Keras,
        "tflite": tensorflow_models.TfLite,
    }
    return makers[kind](path, asked)


def describe(found: Converted) -> str:
    """One line for people."""
    w, draws = found.worst, len({d.draw for d in found.differences})
    return (
        f"{KINDS[found.kind]}, {found.framework}: the ONNX file gives the same on {draws} "
        f"random inputs; the greatest difference is {w.value:.2g} ({w.output} on {w.draw})"
    )
