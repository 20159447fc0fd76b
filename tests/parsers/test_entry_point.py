"""A user's parser, installed as a package would be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edged import registry
from edged.errors import EdgedError
from edged.frames import Geometry
from tests.parsers.samples import make_model

EXAMPLE = Path(__file__).parent / "example" / "brightest.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `pip install` leaves: the module, and metadata that names its entry points."""
    info = tmp_path / "brightest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brightest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edged.parsers]\n"
        "brightest = brightest:BrightestParser\n"
        "broken = brightest:NoSuchClass\n"
        "yolox = brightest:BrightestParser\n"
    )
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._found.cache_clear()
    yield
    registry._found.cache_clear()
    sys.modules.pop("brightest", None)


@pytest.mark.usefixtures("installed")
def test_a_users_parser_is_found_and_works() -> None:
    parser = registry.load("parsers", "brightest")(make_model("raw", (8, 8)))
    heat = np.zeros((8, 8), np.float32)
    heat[2, 5] = 1
    parsed = parser.finish(parser.decode({"heat": heat}), Geometry.fit((16, 16), (8, 8), "stretch"))
    assert np.asarray(parsed.boxes).tolist() == [[10, 4, 1, 1]]


@pytest.mark.usefixtures("installed")
def test_a_broken_one_says_so_and_built_in_names_stay() -> None:
    with pytest.raises(EdgedError, match="NoSuchClass"):
        registry.load("parsers", "broken")
    assert registry.load("parsers", "yolox").__module__ == "edged.parsers.yolox"
