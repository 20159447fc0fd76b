"""model.toml: defaults, every problem at once, and the file behind it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ConfigError, EdgedError, ModelError
from edged.models import toml_text
from edged.models.load import load_model
from tests import onnx_models
from tests.onnx_models import model_toml


def problems(directory: Path) -> dict[str, str]:
    """What load_model lists: key path -> message and remedy."""
    with pytest.raises(ConfigError) as caught:
        load_model(directory)
    assert caught.value.file == str(directory / "model.toml")
    return {p.path: f"{p.message}; {p.hint}" for p in caught.value.problems}


def test_the_least_model_toml(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    model_toml(tmp_path, file, size=(6, 4))
    model = load_model(tmp_path)
    assert (model.name, model.version, model.task, model.file) == ("tiny", "", "raw", file)
    assert model.input.mean == (0.0, 0.0, 0.0)
    assert model.input.std == (1.0, 1.0, 1.0)
    assert (model.input.layout, model.input.color, model.input.resize) == ("NCHW", "RGB", "letterbox")
    assert model.shapes == {"x": (1, 3, 4, 6)}
    assert model.output.parser == "raw"
    assert model.output.labels == ()


def test_values_as_written(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx", ("n", "h", "w", 3))
    (tmp_path / "names.txt").write_text("cat\n dog \n\nbird\n\n", "utf-8")
    model_toml(
        tmp_path,
        file,
        size=(6, 4),
        top='version = "2"\ntask = "detect"',
        input='color = "BGR"\nmean = [1, 2.5, 3]\nstd = 255\npad = 0\nresize = "stretch"',
        output='parser = "yolox"\nlabels = "names.txt"\nscore_threshold = 1\ndecoded = true\nstrides = [8]',
        end='[shapes]\n"x" = [1, 4, 6, 3]',
    )
    model = load_model(tmp_path)
    assert (model.version, model.task, model.input.layout) == ("2", "detect", "NHWC")
    assert (model.input.mean, model.input.std) == ((1.0, 2.5, 3.0), (255.0, 255.0, 255.0))
    assert model.output.labels == ("cat", "dog", "", "bird")
    assert model.output.score_threshold == 1.0
    assert model.output.options.decoded is True
    assert model.output.options.strides == (8,)


def test_labels_in_place(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    model_toml(tmp_path, file, size=(6, 4), output='parser = "raw"\nlabels = ["a", "b"]')
    assert load_model(tmp_path).output.labels == ("a", "b")


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(
        'name = "my model"\nversio = "1"\nfile = "none.onnx"\nsha256 = "abc"\n'
        '[input]\nsize = [0, 4]\ncolor = "RBG"\npad = 300\n'
        '[output]\nparser = "yolx"\nlables = []\nlabels = "none.txt"\nscore_threshold = 2\n'
    )
    found = problems(tmp_path)
    assert found.keys() == {
        "name",
        "versio",
        "file",
        "sha256",
        "input.tensor",
        "input.size[0]",
        "input.color",
        "input.pad",
        "output.parser",
        "output.labels",
        "output.lables",
        "output.score_threshold",
    }
    assert "did you mean 'version'?" in found["versio"]
    assert "did you mean 'yolox'?" in found["output.parser"]
    assert "did you mean 'labels'?" in found["output.lables"]
    assert "RGB" in found["input.color"]
    assert "sha256sum" in found["sha256"]
    assert "letters, digits" in found["name"]


BAD: dict[str, tuple[dict[str, str], str, str]] = {
    "parser key": ({"output": 'parser = "yolox"\nstride = [8]'}, "output.stride", "did you mean 'strides'?"),
    "parser value": ({"output": 'parser = "yolox"\ndecoded = 1'}, "output.decoded", "expected `bool`"),
    "task": ({"top": 'task = "segment"', "output": 'parser = "yolox"'}, "task", 'task = "detect"'),
    "mean": ({"input": "mean = [1, 2]"}, "input.mean", "has 2 values, the color has 3 channels"),
    "std": ({"input": "std = 0"}, "input.std", "above 0"),
    "mean nan": ({"input": "mean = nan"}, "input.mean", "finite"),
    "color": ({"input": 'color = "GREY"'}, "input.color", "has 1 channels"),
    "layout": ({"input": 'layout = "NHWC"'}, "input.color", "RGB has 3 channels"),
    "shape": ({"end": "[shapes]\nx = [1, 3, 4, 8]"}, "shapes.x", "contradicts [input]"),
    "shapes": ({"end": "[shapes]\nxx = [1]"}, "shapes.xx", "did you mean 'x'?"),
    "labels outside": ({"output": 'parser = "raw"\nlabels = "../x"'}, "output.labels", "not inside"),
    "labels type": ({"output": 'parser = "raw"\nlabels = 5'}, "output.labels", "got 5"),
    "output": ({"output": "parser = 5"}, "output.parser", "expected `str`, got 5"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_value_names_its_key_and_remedy(tmp_path: Path, name: str) -> None:
    keys, path, said = BAD[name]
    model_toml(tmp_path, onnx_models.relu(tmp_path / "m.onnx"), size=(6, 4), **keys)
    found = problems(tmp_path)
    assert list(found) == [path]
    assert said in found[path]


def test_a_size_that_contradicts_the_file(tmp_path: Path) -> None:
    model_toml(tmp_path, onnx_models.relu(tmp_path / "m.onnx"), size=(8, 4))
    assert "x: float32[1, 3, 4, 6] is fixed; write size = [6, 4]" in problems(tmp_path)["input.size"]


def test_a_fixed_batch_names_the_command_that_changes_it(tmp_path: Path) -> None:
    model_toml(tmp_path, onnx_models.scaled(tmp_path / "m.onnx"), size=(6, 4))
    assert "--shape x=1,3,4,6" in problems(tmp_path)["input.tensor"]


def test_a_wrong_tensor_name(tmp_path: Path) -> None:
    model_toml(tmp_path, onnx_models.mean_classes(tmp_path / "m.onnx"), size=(8, 8), tensor="xs")
    assert "'xs' is no input of the file; did you mean 'x'?" in problems(tmp_path)["input.tensor"]


@pytest.mark.parametrize("kind", ["two inputs", "rank", "dtype"])
def test_inputs_that_are_no_picture(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.onnx"
    if kind == "two inputs":
        model_toml(tmp_path, onnx_models.two_inputs(path), size=(6, 4), tensor="a")
        assert "feeds one picture" in problems(tmp_path)["input.tensor"]
    elif kind == "rank":
        model_toml(tmp_path, onnx_models.relu(path, (1, 24), (1, 24)), size=(6, 4))
        assert "four dimensions" in problems(tmp_path)["input.tensor"]
    else:
        model_toml(tmp_path, onnx_models.identity(path, "int64"), size=(6, 4))
        assert "is no picture; edged fills float32, float16, uint8" in problems(tmp_path)["input.tensor"]


def test_a_file_swapped_for_another_of_the_same_size_is_caught(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    model_toml(tmp_path, file, size=(6, 4))
    data = bytearray(file.read_bytes())
    data[data.index(b"Relu")] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"m\.onnx: is not the file that model\.toml describes"):
        load_model(tmp_path)


def test_a_truncated_file_is_caught(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    file.write_bytes(file.read_bytes()[:-9])
    model_toml(tmp_path, file, size=(6, 4))
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        load_model(tmp_path)


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    model_toml(tmp_path, onnx_models.external(tmp_path / "m.onnx"), size=(6, 4))
    with pytest.raises(ModelError, match=r"weights\.bin.*sha256 does not cover"):
        load_model(tmp_path)


def test_directories_that_are_no_model(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    for path, said in (
        (tmp_path, r"has no model\.toml(.|\n)*edged model new"),
        (tmp_path / "none", "does not exist"),
        (file, r"is an ONNX file(.|\n)*edged model new"),
    ):
        with pytest.raises(ModelError, match=said):
            load_model(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe\x00", "not text"),
        (b"name = ", "is not TOML: Invalid value"),
        (b"", "is missing"),
        (b"input = 3", "table"),
    ],
    ids=["binary", "toml", "empty", "type"],
)
def test_files_that_are_no_model_toml(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "model.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        load_model(tmp_path)


def test_a_model_toml_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "model.toml").mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        load_model(tmp_path)


@cache
def _onnx() -> bytes:
    with tempfile.TemporaryDirectory() as d:
        return onnx_models.relu(Path(d) / "m.onnx").read_bytes()


leaves = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["m.onnx", "x", "yolox", "raw", "RGB", "/", "..", "."]),
    st.integers(-2, 500),
    st.floats(),
    st.booleans(),
)
values = st.one_of(leaves, st.lists(leaves, max_size=4), st.lists(st.integers(1, 6), min_size=2, max_size=4))
KEYS = {
    "": ["name", "version", "task", "file", "sha256", "other"],
    "input": ["tensor", "size", "color", "resize", "pad", "mean", "std", "layout", "other"],
    "output": [
        "parser",
        "labels",
        "score_threshold",
        "iou_threshold",
        "max_detections",
        "strides",
        "tensors",
    ],
    "shapes": ["x", "y"],
}
tables = st.fixed_dictionaries(
    {t: st.dictionaries(st.sampled_from(k), values, max_size=5) for t, k in KEYS.items()}
)


@given(tables)
def test_no_values_make_loading_fail_in_another_way(written: dict[str, dict[str, Any]]) -> None:
    lines: list[str] = []
    for table, keys in written.items():
        lines += [f"[{table}]"] if table else []
        lines += [f"{k} = {toml_text.value(v)}" for k, v in keys.items()]
    with tempfile.TemporaryDirectory() as d:
        (Path(d) / "m.onnx").write_bytes(_onnx())
        (Path(d) / "model.toml").write_text("\n".join(lines), "utf-8")
        with pytest.raises(EdgedError):  # at least the hash is wrong
            load_model(Path(d))
