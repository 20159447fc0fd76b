"""When an export is believed; with a framework of the test's own, so that none need be installed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from edged.cli.main import main
from edged.errors import ExitCode, ModelError
from edged.importing import convert
from edged.importing.compare import DRAWS, compare
from edged.importing.original import Array, Asked, resolve
from edged.tensors import TensorSpec
from tests import onnx_models

F32 = np.dtype(np.float32)


class Doubling:
    """Y = 2x, `wrong` by so much at one place; exports what `onnx_models.scaled` computes."""

    framework = "Doubling 1.0"

    def __init__(self, wrong: float = 0.0, name: str = "x", dims: tuple[int, ...] = (1, 3, 4, 6)) -> None:
        self.wrong = wrong
        self.inputs = (TensorSpec(name, dims, F32),)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        (x,) = feeds.values()
        y = 2 * x
        y[0, 0, 0, 0] += self.wrong
        return [y]

    def export(self, file: Path) -> None:
        onnx_models.scaled(file, dims=(1, 3, 4, 6))


def exported(original: Doubling, folder: Path) -> Path:
    original.export(folder / "m.onnx")
    return folder / "m.onnx"


def test_the_same_is_believed_and_the_worst_told(tmp_path: Path) -> None:
    good = Doubling(1e-5)
    found = compare(good, exported(good, tmp_path), 1e-4)
    assert sorted(d.draw for d in found) == sorted(DRAWS)
    assert [d.value for d in found] == sorted((d.value for d in found), reverse=True)
    assert 1e-7 < found[0].value < 1e-5, "in parts of the greatest value"
    renamed = Doubling(name="picture")
    assert compare(renamed, exported(renamed, tmp_path), 1e-4)[0].value == 0.0


@pytest.mark.parametrize(
    ("original", "said"),
    [
        (Doubling(0.1), r"does not compute what Doubling 1\.0 computes: y on 0 to 1: 0\.05"),
        (Doubling(float("nan")), "y on 0 to 1: inf"),
        (Doubling(dims=(1, 3, 4, 5)), r"the ONNX file does not run on x \[1, 3, 4, 5\]"),
    ],
)
def test_what_differs_is_refused_with_figures(original: Doubling, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        compare(original, exported(original, tmp_path), 1e-4)


def test_another_number_of_outputs_is_refused(tmp_path: Path) -> None:
    class Two(Doubling):
        def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
            return [*super().run(feeds)] * 2

    with pytest.raises(ModelError, match="gives 2 tensors, the ONNX file 1"):
        compare(Two(), exported(Two(), tmp_path), 1e-4)


def test_shapes_that_are_open_are_asked_for() -> None:
    def shape(dims: Sequence[int | None] | None, **asked: object) -> tuple[int, ...]:
        return resolve("m", "x", dims, F32, Asked(**asked)).shape  # type: ignore[arg-type]

    assert shape((1, 3, 4, 6)) == (1, 3, 4, 6)
    assert shape((None, 3, None, None), size=(6, 4)) == (1, 3, 4, 6)
    assert shape((None, None, None, 3), size=(6, 4)) == (1, 4, 6, 3)
    assert shape(None, size=(6, 4), channels=1) == (1, 1, 4, 6)
    assert shape((None, 7), shapes={"x": (2, 7)}) == (2, 7)
    for dims in ((1, 3, None, None), (None, 7)):
        with pytest.raises(
            ModelError, match=r"the shape of input 'x' is open: .*\?.*\n.*--size WIDTHxHEIGHT"
        ):
            shape(dims)


def test_the_command_writes_nothing_that_it_does_not_believe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(convert, "recognize", lambda _: "tflite")
    monkeypatch.setattr("edged.importing.recognize.recognize", lambda _: "tflite")
    file = tmp_path / "net.tflite"
    file.write_bytes(b"a model")
    monkeypatch.setattr(convert, "_open", lambda *_: Doubling(0.1))
    assert main(["model", "import", str(file), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "--tolerance allows more" in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["net.tflite"]
    monkeypatch.setattr(convert, "_open", lambda *_: Doubling())
    assert main(["model", "import", str(file), str(tmp_path / "m"), "--name", "twice"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "Doubling 1.0: the ONNX file gives the same on 4 random inputs" in out
    assert (
        (tmp_path / "m" / "model.toml")
        .read_text()
        .startswith("# Made by edged model import from net.tflite, sha256 ")
    )
    assert main(["model", "verify", str(tmp_path / "m")]) == ExitCode.OK
    assert main(["model", "import", str(file), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "exists already" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "m")
    assert main(["model", "import", str(file), str(tmp_path / "m"), "--size", "9x9"]) == ExitCode.MODEL
    err = capsys.readouterr().err
    assert "net.tflite: " in err, "the export is gone; the user knows the original"


@pytest.mark.parametrize("text", ["0", "x", "1"])
def test_a_tolerance_is_a_small_number(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["model", "import", "a", "b", "--tolerance", text])
    assert f"'{text}' is no tolerance" in capsys.readouterr().err
