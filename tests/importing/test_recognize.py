"""Which file is of which framework, and what is said of those that cannot be imported."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.cli.main import main
from edged.errors import ExitCode, ModelError
from edged.importing.recognize import recognize


def archive(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, "x")
    return file


def test_contents_come_before_the_name(tmp_path: Path) -> None:
    # as torch 2.14 and 2.9, Keras 3 and TensorFlow 2.21 write them
    assert (
        recognize(archive(tmp_path / "a.pt", "a/archive_format", "a/models/model.json")) == "exported-program"
    )
    assert recognize(archive(tmp_path / "b.pt2", "serialized_exported_program.json")) == "exported-program"
    assert recognize(archive(tmp_path / "c.pth", "c/data.pkl", "c/code/__torch__.py")) == "torchscript"
    assert recognize(archive(tmp_path / "d.keras", "config.json", "model.weights.h5")) == "keras"
    (tmp_path / "e.any").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    assert recognize(tmp_path / "e.any") == "tflite"
    (tmp_path / "f.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20))
    assert recognize(tmp_path / "f.h5") == "keras"
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "saved_model.pb").touch()
    assert recognize(tmp_path / "g") == "saved-model"


@pytest.mark.parametrize(
    ("name", "said", "route"),
    [
        ("net.caffemodel", "is of Caffe", "caffe2onnx.convert --prototxt"),
        ("deploy.prototxt", "is of Caffe", "caffe2onnx.convert --prototxt"),
        ("net-0000.params", "is of MXNet", "mxnet.onnx.export_model"),
        ("net-symbol.json", "is of MXNet", "mxnet.onnx.export_model"),
        ("net.uff", "is UFF", "tf2onnx.convert --graphdef"),
        ("frozen.pb", "is a frozen TensorFlow graph", "--graphdef"),
        ("net.onnx", "is ONNX already", "edged model new"),
        ("net.safetensors", "holds weights without a network", "torch.export.save"),
        ("net.bin", "holds weights without a network", "torch.export.save"),
        ("net.engine", "is a TensorRT plan", "edged model build"),
        ("net.pth", "is a pickle of PyTorch or damaged", "torch.export.save"),
        ("net.pt2", "is cut off or damaged, or no .pt2 file", "copy it again"),
        ("net.xyz", "is of no kind that edged imports", "TensorFlow Lite"),
    ],
)
def test_what_cannot_be_imported_has_a_way_that_is_left(
    name: str, said: str, route: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"whatever it holds")
    assert main(["model", "import", str(tmp_path / name), str(tmp_path / "m")]) == ExitCode.MODEL
    err = capsys.readouterr().err
    assert f"{name}: {said}" in err
    assert route in err.partition("remedy: ")[2]
    assert not (tmp_path / "m").exists()


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights alone, or a module that only its own program can load"):
        recognize(archive(tmp_path / "a.pt", "a/data.pkl", "a/data/0"))
    with pytest.raises(ModelError, match=r"is a folder without saved_model\.pb"):
        recognize(tmp_path)
    with pytest.raises(ModelError, match="No such file"):
        recognize(tmp_path / "none.pt2")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(), st.sampled_from([".pt2", ".pt", ".tflite", ".keras", ".zip", ""]))
def test_any_bytes_are_recognized_or_refused(tmp_path: Path, data: bytes, suffix: str) -> None:
    file = tmp_path / f"f{suffix}"
    file.write_bytes(data)
    hint = ""
    try:
        recognize(file)
    except ModelError as e:
        hint = e.hint
    assert hint or data[4:8] == b"TFL3" or data[:8] == b"\x89HDF\r\n\x1a\n"
