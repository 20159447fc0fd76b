from __future__ import annotations

from pathlib import Path

import pytest

from edged.config.schema import ModelConfig
from edged.engines.choose import choose_engine, make_engine
from edged.engines.onnxruntime import OnnxRuntimeEngine
from edged.errors import EngineError
from tests import onnx_models


def test_auto_is_onnxruntime(tmp_path: Path) -> None:
    model = onnx_models.model_of(onnx_models.relu(tmp_path / "m.onnx"))
    assert choose_engine(model) == choose_engine(model, "onnxruntime") == "onnxruntime"
    with pytest.raises(EngineError, match=r"'tensorflow' is unknown(.|\n)*auto, onnxruntime"):
        choose_engine(model, "tensorflow")


def test_make_engine_takes_the_options_of_the_configuration(tmp_path: Path) -> None:
    model = onnx_models.model_of(onnx_models.relu(tmp_path / "m.onnx"))
    for options in (None, OnnxRuntimeEngine.Options(threads=1)):
        engine = make_engine(model, ModelConfig(path="m", options=options))
        assert isinstance(engine, OnnxRuntimeEngine)
        engine.close()
