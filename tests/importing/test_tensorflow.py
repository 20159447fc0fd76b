"""TensorFlow: a network that is defined here. Skipped where TensorFlow is absent; scripts/test --import has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.cli.main import main
from edged.engines.onnxruntime import package
from edged.errors import ExitCode
from edged.importing.tensorflow_models import ENVIRONMENT
from edged.models.load import load_model

os.environ.update(ENVIRONMENT)
tf: Any = pytest.importorskip(
    "tensorflow", reason="TensorFlow is absent: scripts/test --import installs it (1.6 GB)"
)

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]
DIMS = (1, 16, 24, 3)


@pytest.fixture(scope="module")
def net() -> Any:
    """Convolutions, one of them by depth, batch normalization with statistics of its own, and a softmax."""
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input(DIMS[1:], name="picture"),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    for _ in range(3):
        model(tf.random.normal((4, *DIMS[1:])), training=True)
    return model


def write(model: Any, file: Path) -> None:
    if file.suffix == ".tflite":
        file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    elif file.suffix:
        model.save(str(file))
    else:
        model.export(str(file), verbose=False)


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.tflite", "net"])
def test_the_model_computes_what_tensorflow_computes(
    name: str, net: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(net, tmp_path / name)
    capsys.readouterr()
    assert (
        main(["model", "import", str(tmp_path / name), str(tmp_path / "m"), "--size", "24x16"]) == ExitCode.OK
    )
    assert "the ONNX file gives the same on 4 random inputs" in capsys.readouterr().out
    model = load_model(tmp_path / "m")
    assert (model.input.layout, model.input.size) == ("NHWC", (24, 16))
    session = package().InferenceSession(str(model.file), providers=["CPUExecutionProvider"])
    for seed in range(3):
        x = np.random.default_rng(seed).normal(0, 1 + seed, DIMS).astype(np.float32)
        (ours,) = session.run(None, {model.input.tensor: x})
        np.testing.assert_allclose(ours, net(x, training=False).numpy(), rtol=0, atol=1e-4)
    assert main(["model", "verify", str(tmp_path / "m")]) == ExitCode.OK


def test_what_tensorflow_refuses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"nothing of the kind")
    assert main(["model", "import", str(tmp_path / "net"), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "TensorFlow cannot load it" in capsys.readouterr().err

    class Signed(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 4, 6, 3), tf.float32)])  # type: ignore[untyped-decorator]
        def other(self, x: Any) -> Any:
            return x

    made = Signed()
    tf.saved_model.save(made, str(tmp_path / "signed"), signatures={"other": made.other})
    assert main(["model", "import", str(tmp_path / "signed"), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "has no signature 'serving_default', but other" in capsys.readouterr().err
