from __future__ import annotations

import numpy as np
import pytest

from edged.errors import ModelError
from tests.parsers.samples import Array, make_parser, specs


def _outputs(w: int = 16, h: int = 8) -> dict[str, Array]:
    shapes = {"537": 1, "538": 2, "539": 2, "540": 10}
    return {name: np.zeros((channels, h, w), np.float32) for name, channels in shapes.items()}


def test_a_face_and_its_landmarks() -> None:
    out = _outputs()
    out["537"][0, 3, 5] = 0.9
    out["538"][:, 3, 5] = np.log((4, 2))  # 16 high, 8 wide
    out["539"][:, 3, 5] = (0.25, -0.25)  # centre y = 3.75 * 4, x = 5.25 * 4
    out["540"][:, 3, 5] = np.array([[i / 10, 0.5] for i in range(5)]).ravel()  # y, x
    parser = make_parser("centerface", (64, 32))
    parser.check(specs(out))
    c = parser.decode(out)
    np.testing.assert_allclose(c.boxes, [[17, 7, 25, 23]], rtol=1e-6)
    assert c.keypoints is not None
    np.testing.assert_allclose(c.keypoints, [[[21, 7 + 1.6 * i] for i in range(5)]], rtol=1e-6)
    assert parser.labels == ("face",)


def test_without_landmarks() -> None:
    out = _outputs()
    out["537"][0, 0, 0] = 0.9
    parser = make_parser("centerface", (64, 32), {"landmarks": ""})
    parser.check(specs(out))
    assert parser.decode(out).keypoints is None


def test_sizes_that_overflow_are_rejected() -> None:
    out = _outputs()
    out["537"][0, 0, :3] = 0.9
    out["538"][0, 0, 0] = 500
    out["539"][0, 0, 1] = np.nan
    c = make_parser("centerface", (64, 32)).decode(out)
    assert (len(c.boxes), c.rejected) == (1, 2)


def test_missing_and_misshapen_outputs_are_refused_at_load() -> None:
    out = _outputs()
    parser = make_parser("centerface", (64, 32), {"scale": "s"})
    with pytest.raises(ModelError, match='scale = "s"'):
        parser.check(specs(out))
    with pytest.raises(ModelError, match=r"\[batch, 1, 16, 16\]"):
        make_parser("centerface", (64, 64)).check(specs(out))
    with pytest.raises(ModelError, match="as many classes as labels"):
        make_parser("centerface", (64, 32), labels=("a", "b")).check(specs(out))
