"""What `pipelines.X.source` may be besides the name of a [sources.X]: a device, file, folder, address or table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edged.config.backends import URL, backend
from edged.config.schema import Backend
from edged.config.words import BAD, Problems, join, show, suggest
from edged.errors import Problem

_STREAMS = ("rtsp", "rtsps")
_CAMERA = re.compile(r"/dev/(video[0-9]+|v4l/by-(id|path)/[^/]+)", re.A)
PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class Sources:
    """The sources of a configuration while its pipelines are read; `named` collects all of them.

    `declared` are the names of the [sources.X] tables, also of those with problems.
    """

    def __init__(
        self, declared: Mapping[str, Any], good: dict[str, Backend], origin: dict[str, str], base: Path
    ) -> None:
        self.declared = declared
        self.named = good
        self.origin = origin  # name of a source made here -> key path that it was made from
        self._base = base
        self._shared: dict[str, str] = {}  # absolute path -> name of the source made for it

    def resolve(self, value: Any, pipeline: str, problems: Problems) -> str | None:
        """The name of the source that a pipeline's `source` means; None: it has a problem, now in `problems`."""
        path = join(join("pipelines", pipeline), "source")
        if isinstance(value, Mapping):
            return self._add(pipeline, backend("sources", value, path, self._base, problems))
        if not isinstance(value, str):
            problems.append(
                Problem(
                    path, f"must name a source, got {show(value)}", "write a name, device, file or folder"
                )
            )
            return None
        if value in self.declared:
            return value
        return self._shorthand(value, pipeline, path, problems)

    def _shorthand(self, value: str, pipeline: str, path: str, problems: Problems) -> str | None:
        scheme = URL.match(value)
        if scheme is not None and scheme[1].lower() not in _STREAMS:
            hint = "write rtsp://HOST/PATH, or the path of a file"
            problems.append(Problem(path, f"{show(value)} is no address that is understood", hint))
            return None
        full = value if scheme else os.path.normpath(os.path.join(self._base, value)) if value else ""
        table = {"kind": "rtsp", "url": value} if scheme else _as_table(full)
        if table is None:
            problems.append(self._nothing(value, full, path))
            return None
        if full not in self._shared:
            found: Problems = []
            name = self._add(pipeline, backend("sources", table, path, self._base, found))
            # the keys are ours, the value is the user's: every problem is about `source` itself
            problems.extend(Problem(path, f"{show(value)}: {p.message}", p.hint) for p in found)
            if name is None:
                return None
            self._shared[full] = name
        return self._shared[full]

    def _nothing(self, value: str, full: str, path: str) -> Problem:
        hint = suggest(value, self.declared, "declared sources")
        if "did you mean" not in hint and (os.sep in value or Path(value).suffix):
            return Problem(path, f"{show(value)}: no such file or folder ({full})", "check the path")
        hint = hint or f"add [sources.{value}], or give a device, file or folder"
        return Problem(path, f"{show(value)} is neither a declared source nor a file, folder or device", hint)

    def _add(self, pipeline: str, made: Any) -> str | None:
        """Keep a source under its pipeline's name, or beside a [sources.X] that has it already."""
        if made is BAD:
            return None
        name, n = pipeline, 1
        while name in self.declared or name in self.named:
            n += 1
            name = f"{pipeline[:58]}-{n}"
        self.named[name] = made
        self.origin[name] = join(join("pipelines", pipeline), "source")
        return name


def _as_table(full: str) -> dict[str, Any] | None:
    """The [sources.X] table that a device, folder or file stands for."""
    if _CAMERA.fullmatch(full):
        return {"kind": "v4l2", "device": full}
    if os.path.isdir(full):
        return {"kind": "images", "path": full}
    if os.path.isfile(full):
        if Path(full).suffix.lower() in PICTURES:
            return {"kind": "images", "paths": [full]}
        return {"kind": "video", "path": full}
    return None
