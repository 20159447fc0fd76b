"""A folder with a configuration that the machine can run, and what a change of it looks like."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from edged.config.load import parse
from tests import onnx_models

TEXT = """\
[device]
id = "robot-7"
[runtime]
state_dir = "state"
[control]
confirm_s = 10.0
[pipelines.front]
source = "moving"
model = "tiny"
sinks = ["cloud"]
[sources.moving]
kind = "pattern"
[models.tiny]
path = "tiny"
[sinks.cloud]
kind = "mqtt"
host = "broker.invalid"
username = "robot"
password_env = "ROBOT_PASSWORD"
"""


class Site:
    """The file, and the folder of its state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tiny").mkdir()
        onnx = onnx_models.relu(folder / "tiny" / "model.onnx", (1, 3, 8, 8))
        onnx_models.model_toml(folder / "tiny", onnx, size=(8, 8), output='parser = "raw"')
        self.file = folder / "edged.toml"
        self.file.write_text(TEXT)
        self.state = folder / "state"

    @property
    def data(self) -> dict[str, Any]:
        """What the file says."""
        return parse(self.file.read_text(), "the file")

    def with_every(self, every: int) -> dict[str, Any]:
        """What the file says, but for one key: another one for each number."""
        data = copy.deepcopy(self.data)
        data["pipelines"]["front"]["every"] = every
        return data

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))
