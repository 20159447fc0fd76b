"""Every curl example of the README, run as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edged.control.routes import ROUTES
from tests.control.fake import Served, event

README = Path(__file__).parents[2] / "README.md"
SOCKET = "/run/edged/control.sock"
EXAMPLES = re.findall(r"^curl --unix-socket (?:.*\\\n)*.*", README.read_text(), re.MULTILINE)


def test_there_are_examples_of_every_kind() -> None:
    assert len(EXAMPLES) >= 12
    text = "\n".join(EXAMPLES)
    for route in ROUTES:
        if route.name not in ("put_config", "reload", "restart", "openapi"):
            assert route.path.replace("{name}", "front") in text


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent: apt-get install curl")
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_does_what_it_says(api: Served, example: str, tmp_path: Path) -> None:
    if "snapshot.jpg" in example:
        pytest.importorskip("cv2", reason="OpenCV is absent: edged[ort]")
    for seq in (1, 2, 3):
        api.log.add(event(seq))
    command = example.replace(SOCKET, str(api.path)).replace("curl ", "curl --silent --show-error --fail ", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout or (tmp_path / "front.jpg").read_bytes().startswith(b"\xff\xd8")
