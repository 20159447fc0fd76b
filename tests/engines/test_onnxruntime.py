"""ONNX Runtime: shapes resolved at load, types, session options, and errors without a traceback or a log line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edged.devices.cpu_stream import CpuStream
from edged.engines.onnxruntime import OnnxRuntimeEngine, reason
from edged.errors import EngineError, MissingPackage, ModelError
from edged.memory import Region, Want
from edged.models.model import Model
from tests import onnx_models
from tests.onnx_models import model_of

OPTIONS = OnnxRuntimeEngine.Options(threads=1)


def load(model: Model) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(model, OPTIONS)


@pytest.fixture
def stream() -> Iterator[CpuStream]:
    s = CpuStream("test")
    yield s
    s.close()


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """ONNX Runtime writes nothing of its own, whatever goes wrong."""
    yield
    assert capfd.readouterr() == ("", "")


def run(engine: OnnxRuntimeEngine, stream: CpuStream, x: Any) -> Any:
    """The only output for the only input; a copy."""
    (spec,), (out,) = engine.inputs, engine.outputs
    region = Region("test", [Want.tensor(spec), Want.tensor(out)])
    views = {t.name: region.tensor(t) for t in (spec, out)}
    views[spec.name].host()[:] = x
    execution = engine.bind(views, region)
    try:
        execution.enqueue(stream)
        stream.synchronize()
        return views[out.name].host().copy()
    finally:
        execution.close()
        region.close()


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_pictures_of_every_type_go_through_unchanged(tmp_path: Path, stream: CpuStream, dtype: str) -> None:
    engine = load(model_of(onnx_models.identity(tmp_path / "m.onnx", dtype)))
    x = np.arange(72).reshape(1, 3, 4, 6).astype(dtype)
    y = run(engine, stream, x)
    assert y.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(y, x)
    engine.close()


@pytest.mark.parametrize("dims", [("n", 3, "h", "w"), (None, 3, None, None), ("n", "c", 4, "w")])
@pytest.mark.parametrize("out", [("n", 3, "h", "w"), (None, None, None, None), None])
def test_open_dimensions_are_those_of_model_toml(
    tmp_path: Path, stream: CpuStream, dims: tuple[Any, ...], out: tuple[Any, ...] | None
) -> None:
    engine = load(model_of(onnx_models.relu(tmp_path / "m.onnx", dims, out)))
    assert engine.inputs[0].shape == engine.outputs[0].shape == (1, 3, 4, 6)
    assert (run(engine, stream, 2.0) == 2).all()
    engine.close()


def test_shapes_resolve_inputs_that_are_no_picture(tmp_path: Path) -> None:
    model = model_of(onnx_models.two_inputs(tmp_path / "m.onnx"), tensor="a", shapes={"b": (1, 3, 4, 6)})
    engine = load(model)
    assert [t.name for t in engine.inputs] == ["a", "b"]
    engine.close()


def test_an_input_that_stays_open_names_the_remedy(tmp_path: Path) -> None:
    model = model_of(onnx_models.relu(tmp_path / "m.onnx", ("n", 3, "h", "w")), tensor="other")
    with pytest.raises(EngineError, match=r"x: float32\[n, 3, h, w\] is open(.|\n)*\[shapes\]"):
        load(model)


def test_one_dimension_name_is_one_size(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx", ("n", 3, "s", "s"))
    with pytest.raises(EngineError, match=r"dimension 's' of .* would be 4 and 6"):
        load(model_of(file))


def test_a_wrong_tensor_name_lists_those_of_the_file(tmp_path: Path) -> None:
    model = model_of(onnx_models.relu(tmp_path / "m.onnx"), tensor="image")
    with pytest.raises(EngineError, match=r"no input 'image'(.|\n)*one of: x"):
        load(model)


def test_a_fixed_shape_is_not_overruled(tmp_path: Path) -> None:
    model = model_of(onnx_models.relu(tmp_path / "m.onnx"), size=(8, 4))
    with pytest.raises(EngineError, match=r"x: float32\[1, 3, 4, 6\] in the file.*\[1, 3, 4, 8\]"):
        load(model)


def test_outputs_whose_shape_follows_the_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"'found' depends on the picture \(\[4, 0\] on black"):
        load(model_of(onnx_models.nonzero(tmp_path / "m.onnx")))


def test_a_file_that_changed_since_model_toml_was_read_is_refused(tmp_path: Path) -> None:
    model = model_of(onnx_models.relu(tmp_path / "m.onnx"))
    data = bytearray(model.file.read_bytes())
    data[data.index(b"Relu")] ^= 1
    model.file.write_bytes(data)
    with pytest.raises(ModelError, match="sha256"):
        load(model)


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"refuses .*m\.onnx: .*Frobnicate"):
        load(model_of(onnx_models.unknown_op(tmp_path / "m.onnx")))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        load(model_of(file))


def test_a_damaged_node_is_onnxruntimes_to_refuse(tmp_path: Path) -> None:
    file = onnx_models.relu(tmp_path / "m.onnx")
    file.write_bytes(file.read_bytes().replace(b"Relu", b"R\xff\xfeu"))
    with pytest.raises(EngineError, match=r"ONNX Runtime .* refuses"):
        load(model_of(file))


def test_missing_weight_files_are_refused(tmp_path: Path) -> None:
    file = onnx_models.external(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(EngineError, match=r"weights\.bin"):
        load(model_of(file))


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    model = model_of(onnx_models.relu(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load(replace(model, file=tmp_path / "none.onnx"))


def test_what_fails_while_running_arises_where_the_stream_is_waited_for(
    tmp_path: Path, stream: CpuStream
) -> None:
    # the declared output is fixed, so that nothing runs at load; the reshape inside then does not fit
    model = model_of(onnx_models.fails_at_run(tmp_path / "m.onnx"), size=(6, 5))
    engine = load(model)
    with pytest.raises(EngineError, match=r"inference failed: .*Reshape") as caught:
        run(engine, stream, 1.0)
    assert "\n" not in caught.value.message
    assert "/onnxruntime_src" not in caught.value.message
    engine.close()


def test_session_options_reach_onnxruntime(tmp_path: Path) -> None:
    options = OnnxRuntimeEngine.Options(
        threads=1,
        inter_threads=2,
        spinning=True,
        graph_optimization="basic",
        session_options={"session.x": "1"},
    )
    engine = OnnxRuntimeEngine(model_of(onnx_models.relu(tmp_path / "m.onnx")), options)
    settings = engine._session.get_session_options()
    assert settings.intra_op_num_threads == 1
    assert settings.inter_op_num_threads == 2
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert settings.get_session_config_entry("session.x") == "1"
    assert settings.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    engine.close()


def test_a_session_option_that_onnxruntime_refuses_is_an_engine_error(tmp_path: Path) -> None:
    options = OnnxRuntimeEngine.Options(threads=1, session_options={"x" * 2000: "1"})
    with pytest.raises(EngineError, match="longer than maximum length"):
        OnnxRuntimeEngine(model_of(onnx_models.relu(tmp_path / "m.onnx")), options)


def test_options_are_read_from_a_table() -> None:
    options = msgspec.convert({"threads": 2, "session_options": {"a": "b"}}, OnnxRuntimeEngine.Options)
    assert (options.threads, options.spinning, options.session_options) == (2, False, {"a": "b"})


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(onnx_models.relu(tmp_path / "m.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r"edged\[ort\]"):
        load(model)


def test_reasons_are_one_short_line() -> None:
    raw = (
        "[ONNXRuntimeError] : 1 : FAIL : Fatal error:\n /onnxruntime_src/core/x.cc:12 it is off " + "x" * 500
    )
    text = reason(RuntimeError(raw))
    assert text.startswith("Fatal error: it is off xx")
    assert len(text) <= 301
    assert "\n" not in text


def test_onnxruntime_is_told_to_send_no_telemetry(tmp_path: Path) -> None:
    code = (
        "import os, pathlib\n"
        "from edged.engines.onnxruntime import OnnxRuntimeEngine\n"
        "from tests import onnx_models\n"
        f"model = onnx_models.model_of(onnx_models.relu(pathlib.Path({str(tmp_path / 'm.onnx')!r})))\n"
        "OnnxRuntimeEngine(model, OnnxRuntimeEngine.Options(threads=1)).close()\n"
        "print([p for p in os.listdir(os.environ['HOME'])])\n"
    )
    environment = {
        k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")
    }
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(home)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
