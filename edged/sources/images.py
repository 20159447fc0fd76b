"""Pictures from a folder or a list, once or in a loop, at a rate or as fast as they are taken.

Pixels are never scaled. All frames have one size, `size` or the largest width and height of all pictures; a
smaller picture is at the top left, the rest is grey (114). Tags: "file" (absolute path) and "size" (w, h).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edged.config.schema import Rate, Size, Table
from edged.errors import SourceError
from edged.frames import U8, FrameSpec, PixelFormat, TimestampSource
from edged.interfaces import EndOfStream
from edged.sources._opencv import opencv
from edged.sources._pictures import complete, header_size
from edged.sources.base import SlotSource

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
GREY = 114  # of what a smaller picture leaves free
MAX_PIXELS = 1 << 30  # OpenCV decodes no larger picture
HEADER_BYTES = 1 << 18  # a JPEG's size may stand behind several metadata segments of up to 64 KiB


class ImagesOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a source of kind "images": exactly one of `path` and `paths`.

    path: a folder (its pictures in order of their names, no subfolders) or one picture.
    paths: pictures in the order given.
    loop: start again after the last one.
    rate: pictures a second; then the source is live. Absent: the reader sets the pace and sees every one.
    size: [width, height] of the frames; a larger picture is refused. Default: the largest of all pictures.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("path", "paths")

    path: str | None = None
    paths: tuple[str, ...] = ()
    loop: bool = False
    rate: Rate | None = None
    size: Size | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions: (key, "what is wrong; remedy")."""
        if self.path is not None and self.paths:
            yield "paths", "is given beside path; give one of them"
        if self.path is None and not self.paths:
            yield "path", "is missing; give a folder in path or a list of pictures in paths"


class ImagesSource(SlotSource):
    """Decodes each picture when it is due, then copies it into the slot (OpenCV decodes into memory of its own)."""

    Options: ClassVar[type[ImagesOptions]] = ImagesOptions
    stills = True  # a picture that repeats itself is no fault

    def __init__(self, name: str, options: ImagesOptions) -> None:
        super().__init__(name, options)
        self.options = options
        self._files: list[Path] = []
        self._next = 0

    @property
    def live(self) -> bool:
        return self.options.rate is not None

    @property
    def timestamps(self) -> TimestampSource:
        return "file"

    def _open(self) -> FrameSpec:
        self._cv2 = opencv("a source of kind 'images'")
        self._files = self._listing()
        sizes = [self._size(f) for f in self._files]
        width, height = self.options.size or (max(w for w, _ in sizes), max(h for _, h in sizes))
        for file, (w, h) in zip(self._files, sizes, strict=True):
            if w > width or h > height:
                raise self.error(
                    f"has {file} of {w}x{h}, larger than its size = [{width}, {height}]",
                    "raise size, or leave it out: then the largest picture sets it",
                )
        return FrameSpec(width, height, PixelFormat.BGR)

    def _listing(self) -> list[Path]:
        if self.options.paths:
            return [Path(p) for p in self.options.paths]
        path = Path(self.options.path or "")
        try:
            if not path.is_dir():
                path.stat()
                return [path]
            files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
        except OSError as e:
            raise self.os_error(path, e) from e
        if not files:
            raise self.error(
                f"finds no pictures in {path}",
                f"put some there ({', '.join(sorted(SUFFIXES))}), or correct path; subfolders are not searched",
            )
        return files

    def _start(self) -> None:
        self._next = 0

    def _close(self) -> None:
        self._files = []

    def _load(self, file: Path, limit: int = -1) -> bytes:
        try:
            with file.open("rb") as f:
                data = f.read(limit)
        except OSError as e:
            raise self.os_error(file, e) from e
        if not data:
            raise self.error(f"cannot use {file}: it is empty (0 bytes)", "replace or remove it")
        return data

    def _size(self, file: Path) -> tuple[int, int]:
        found = header_size(self._load(file, HEADER_BYTES))
        if found is None:
            h, w = self._decode(file, self._load(file)).shape[:2]
            return w, h
        w, h = found
        if not 1 <= w * h <= MAX_PIXELS:  # a damaged header must not ask for all memory there is
            raise self._undecodable(file, f": its header says {w}x{h}")
        return found

    def _decode(self, file: Path, data: bytes) -> U8:
        """BGR; Exif orientation applied. OpenCV's part of a cut-off picture is refused."""
        picture: U8 | None = None
        if complete(data):
            try:
                picture = self._cv2.imdecode(np.frombuffer(data, np.uint8), self._cv2.IMREAD_COLOR)
            except self._cv2.error as e:  # for example more pixels than OpenCV allows
                raise self._undecodable(file, f": {e.err}") from e
        if picture is None:
            raise self._undecodable(file)
        return picture

    def _undecodable(self, file: Path, why: str = "") -> SourceError:
        return self.error(
            f"cannot decode {file}: it is cut off, damaged or no picture{why}", "replace or remove it"
        )

    def _advance(self, timeout_s: float) -> float | None:
        if self._next >= len(self._files) and not self.options.loop:
            raise EndOfStream
        at, self._next = self._next, self._next + 1
        return at / self.options.rate if self.options.rate else 0.0

    def _fill(self, slot: int, planes: tuple[U8, ...]) -> dict[str, Any]:
        file = self._files[(self._next - 1) % len(self._files)]
        picture = self._decode(file, self._load(file))
        (h, w), plane = picture.shape[:2], planes[0]
        if h > plane.shape[0] or w > plane.shape[1]:
            raise self.error(
                f"has {file} of {w}x{h}, larger than when it was opened", "do not change files in use"
            )
        plane[:h, :w] = picture
        self.copied = picture.nbytes
        plane[h:] = GREY
        plane[:h, w:] = GREY
        return {"file": os.path.abspath(file), "size": (w, h)}
