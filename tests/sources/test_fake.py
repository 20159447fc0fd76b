from __future__ import annotations

import numpy as np
import pytest

from edged.errors import SourceError
from edged.frames import PixelFormat
from edged.interfaces import EndOfStream
from edged.sources.fake import FakeOptions, FakeSource
from tests.sources.make import started


def test_the_script_is_played() -> None:
    fault = SourceError("wedged", hint="wait")
    planes = (np.arange(8, dtype=np.uint8).reshape(2, 4), np.full((1, 2, 2), 9, np.uint8))
    source = FakeSource(
        "f", FakeOptions(format=PixelFormat.NV12, script=(7, None, fault, planes, EndOfStream, 8))
    )
    started(source)
    frame = source.read(0.0)
    assert frame is not None
    assert (frame.planes[0] == 7).all()
    frame.release()
    assert source.read(0.0) is None
    with pytest.raises(SourceError, match="wedged"):
        source.read(0.0)
    frame = source.read(0.0)
    assert frame is not None
    assert frame.seq == 1
    assert (frame.planes[0] == planes[0]).all()
    assert (frame.planes[1] == 9).all()
    frame.release()
    for _ in range(2):
        with pytest.raises(EndOfStream):
            source.read(0.0)
    source.close()


def test_opens_fail_as_told_and_the_script_goes_on_when_asked_to() -> None:
    options = FakeOptions(script=(1, SourceError("gone"), 2), open_script=(SourceError("busy"),), resume=True)
    source = FakeSource("f", options)
    with pytest.raises(SourceError, match="busy"):
        source.open()
    started(source)
    first = source.read(0.0)
    assert first is not None
    first.release()
    with pytest.raises(SourceError, match="gone"):
        source.read(0.0)
    source.close()
    started(source)
    second = source.read(0.0)
    assert second is not None
    assert (second.planes[0] == 2).all()
    second.release()
    source.close()
    assert (source.opens, source.starts) == (3, 2)
