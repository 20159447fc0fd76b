from __future__ import annotations

import numpy as np
import pytest

from edged.errors import ModelError
from edged.frames import Geometry
from tests.parsers.samples import make_parser, specs

ANY = Geometry.fit((10, 10), (64, 64), "stretch")
OUTPUTS = {"a": np.array([[1, np.nan]], np.float16), "b": np.arange(6, dtype=">i4").reshape(2, 3)[:, ::2]}


def test_tensors_come_as_they_are() -> None:
    parser = make_parser("raw")
    parsed = parser.finish(parser.decode(OUTPUTS), ANY)
    assert parsed.tensors.keys() == {"a", "b"}
    for name, t in parsed.tensors.items():
        back = np.frombuffer(t.data, np.dtype(t.dtype).newbyteorder("<")).reshape(t.shape)
        np.testing.assert_array_equal(back, OUTPUTS[name])


def test_some_of_them() -> None:
    parser = make_parser("raw", options={"tensors": ("b",)})
    parser.check(specs(OUTPUTS))
    assert list(parser.decode(OUTPUTS).other) == ["b"]
    with pytest.raises(ModelError, match="some of: a, b"):
        make_parser("raw", options={"tensors": ("c",)}).check(specs(OUTPUTS))
