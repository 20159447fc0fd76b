"""A source for tests: it plays a script and obeys the contract of every source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from edged.backoff import Backoff
from edged.config.schema import Size, Table
from edged.frames import U8, FrameSpec, PixelFormat, TimestampSource
from edged.interfaces import EndOfStream
from edged.sources.base import SlotSource


class FakeOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of the fake source; `script` and `open_script` are given in Python.

    size, format: of its frames.
    live: what it says of itself; it is never paced.
    script: what each read does: a number fills the frame with this grey level, an array or a tuple of arrays is
        copied into its planes, None is a read in which nothing came, an exception is raised. At the script's
        end the stream ends.
    open_script: what each open does: None succeeds, an exception is raised. After its end opens succeed.
    resume: whether a source that is opened again goes on in the script instead of at its start.
    sizes: of the frames after the first open, the second, and so on; the last stays. Empty: `size`.
    backoff, max_size, exclusive: what it says of itself (interfaces.Source); backoff is [first_s, cap_s].
    """

    size: Size = (4, 2)
    format: PixelFormat = PixelFormat.BGR
    live: bool = False
    script: tuple[Any, ...] = ()
    open_script: tuple[Any, ...] = ()
    resume: bool = False
    sizes: tuple[Size, ...] = ()
    backoff: tuple[float, float] | None = None
    max_size: Size | None = None
    exclusive: bool = False

    def problems(self) -> Iterator[tuple[str, str]]:
        """None: what does not fit is a test's mistake."""
        return iter(())


class FakeSource(SlotSource):
    """Counts `opens`, `starts` and `closes`; `at` is the place in the script."""

    Options: ClassVar[type[FakeOptions]] = FakeOptions

    def __init__(self, name: str = "fake", options: FakeOptions | None = None) -> None:
        self.options = options or FakeOptions()
        super().__init__(name, self.options)
        self.at = 0
        self.opens = self.starts = self.closes = 0
        self._item: Any = None

    @property
    def live(self) -> bool:
        return self.options.live

    @property
    def backoff(self) -> Backoff | None:
        return None if self.options.backoff is None else Backoff(*self.options.backoff)

    @property
    def max_size(self) -> Size | None:
        return self.options.max_size

    @property
    def exclusive(self) -> bool:
        return self.options.exclusive

    @property
    def paced(self) -> bool:
        return False

    @property
    def timestamps(self) -> TimestampSource:
        return "synthetic"

    def _open(self) -> FrameSpec:
        self.opens += 1
        if not self.options.resume:
            self.at = 0
        if self.opens <= len(self.options.open_script):
            fault = self.options.open_script[self.opens - 1]
            if fault is not None:
                raise fault
        sizes = self.options.sizes or (self.options.size,)
        return FrameSpec(*sizes[min(self.opens, len(sizes)) - 1], self.options.format)

    def _start(self) -> None:
        self.starts += 1

    def _advance(self, timeout_s: float) -> float | None:
        if self.at >= len(self.options.script):
            raise EndOfStream
        item = self.options.script[self.at]
        if isinstance(item, EndOfStream) or item is EndOfStream:
            raise EndOfStream  # the place stays: the end is the end
        self.at += 1
        if isinstance(item, BaseException):
            raise item
        self._item = item
        return None if item is None else 0.0

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any]:
        contents = self._item if isinstance(self._item, tuple) else (self._item,) * len(planes)
        for plane, content in zip(planes, contents, strict=True):
            plane[...] = np.asarray(content, np.uint8)
        return {}

    def _close(self) -> None:
        self.closes += 1
