"""PyTorch: a network that is defined here. Skipped where torch is absent; scripts/test --import has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.cli.main import main
from edged.engines.onnxruntime import package
from edged.errors import ExitCode
from edged.models.load import load_model

torch: Any = pytest.importorskip(
    "torch", reason="torch is absent: scripts/test --import installs it (5.8 GB)"
)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # torch tells of its own functions that grow old
    pytest.mark.timeout(300),
]
ROOT = Path(__file__).resolve().parents[2]
DIMS = (1, 3, 32, 48)


class Net(torch.nn.Module):  # type: ignore[misc]
    """Two stages of convolution, batch normalization and ReLU6, with a branch, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.SiLU())
        self.head = nn.Linear(8, 5)

    # no annotations: TorchScript reads them
    def features(self, picture):  # type: ignore[no-untyped-def]
        x = self.stem(picture)
        x = x + self.deep(x)
        return torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, picture):  # type: ignore[no-untyped-def]
        x = self.features(picture)  # type: ignore[no-untyped-call]
        return self.head(x.mean((2, 3))), x


class OneOutput(Net):
    """The first of them."""

    def forward(self, picture):  # type: ignore[no-untyped-def]
        return self.head(self.features(picture).mean((2, 3)))  # type: ignore[no-untyped-call]


def make(kind: type[Any] = OneOutput) -> Any:
    """With weights and statistics that are not those of a new network."""
    torch.manual_seed(0)
    model = kind()
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, *DIMS[1:]) * 2 + 0.5)
    return model.eval()


def outputs(directory: Path, x: Any) -> list[Any]:
    session = package().InferenceSession(str(load_model(directory).file), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: x}))


@pytest.mark.parametrize("kind", ["exported", "scripted", "traced"])
def test_the_model_computes_what_pytorch_computes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, example = make(), torch.randn(DIMS)
    if kind == "exported":
        file, flags = tmp_path / "net.pt2", []
        torch.export.save(torch.export.export(model, (example,)), str(file))
    else:
        file, flags = tmp_path / "net.pt", ["--size", "48x32"]
        (torch.jit.script(model) if kind == "scripted" else torch.jit.trace(model, example)).save(str(file))
    assert main(["model", "import", str(file), str(tmp_path / "m"), *flags]) == ExitCode.OK
    assert "the ONNX file gives the same on 4 random inputs" in capsys.readouterr().out
    assert load_model(tmp_path / "m").input.tensor == "picture"
    for seed in range(5):
        x = np.random.default_rng(seed).normal(0, 1 + seed, DIMS).astype(np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(outputs(tmp_path / "m", x)[0], expected, rtol=0, atol=1e-4)
    assert main(["model", "verify", str(tmp_path / "m")]) == ExitCode.OK


def test_several_outputs_keep_their_order(tmp_path: Path) -> None:
    model, x = make(Net), torch.randn(DIMS)
    torch.export.save(torch.export.export(model, (x,)), str(tmp_path / "net.pt2"))
    assert main(["model", "import", str(tmp_path / "net.pt2"), str(tmp_path / "m")]) == ExitCode.OK
    with torch.no_grad():
        expected = [t.numpy() for t in model(x)]
    for ours, theirs in zip(outputs(tmp_path / "m", x.numpy()), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_open_dimensions_are_taken_from_what_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = torch.export.Dim
    shapes = ({0: free("n", max=8), 2: 2 * free("h", max=64), 3: 2 * free("w", max=64)},)
    program = torch.export.export(make(), (torch.randn(2, 3, 32, 48),), dynamic_shapes=shapes)
    torch.export.save(program, str(tmp_path / "net.pt2"))
    assert main(["model", "import", str(tmp_path / "net.pt2"), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "the shape of input 'picture' is open: 1,3,?,?" in capsys.readouterr().err
    assert (
        main(["model", "import", str(tmp_path / "net.pt2"), str(tmp_path / "m"), "--size", "24x16"])
        == ExitCode.OK
    )
    assert load_model(tmp_path / "m").input.size == (24, 16)


def test_what_torch_refuses_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(make(), (torch.randn(DIMS),)), str(file))
    file.write_bytes(file.read_bytes()[:-40] + bytes(40))
    assert main(["model", "import", str(file), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "net.pt2: " in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    torch.save(make().state_dict(), str(tmp_path / "weights.pth"))
    assert main(["model", "import", str(tmp_path / "weights.pth"), str(tmp_path / "m")]) == ExitCode.MODEL
    assert "torch.export.save" in capsys.readouterr().err


def test_efficientnet_lite0_knows_foolboxs_twenty_pictures(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "bench" / "efficientnet.py"
    done = subprocess.run(
        [sys.executable, str(script), "--json"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["report"]
    assert (report["pictures"], report["metric"]) == (20, "top-1")
    assert report["figures"] == {"top-1": pytest.approx(0.95), "top-5": pytest.approx(0.95)}
