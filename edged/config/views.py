"""Checks of what a pipeline's model sees of its pictures: roi and dewarp."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from edged.config.check import Draft
from edged.config.schema import PipelineConfig
from edged.config.words import join
from edged.errors import Problem
from edged.frames import FrameSpec, PixelFormat
from edged.views import EXCLUSIVE, NO_FOCAL, View, inside, misfit

# kinds whose options say how large the pictures are, or at most: the first of these that is given
_SIZES: dict[str, tuple[str, ...]] = {
    "v4l2": ("size", "max_size"),
    "images": ("size",),
    "pattern": ("size",),
    "rtsp": ("max_size",),
    "video": ("max_size",),
}
_FISHEYE_ONLY = ("focal", "center", "k", "lens_fov")


def _size(d: Draft, p: PipelineConfig) -> tuple[tuple[int, int] | None, bool]:
    """What the pictures have, and whether exactly or at most; None: known once the source is open."""
    entry = d.sources.get(p.source)
    if entry is None:
        return None, False
    for key in _SIZES.get(entry.kind, ()):
        size = getattr(entry.options, key)
        if size is not None:
            return size, key == "size"
    return None, False


def one_of_them(d: Draft) -> Iterator[Problem]:
    for path, table in d.raw_pipelines():
        if "roi" in table and "dewarp" in table:
            yield Problem(join(path, "roi"), "excludes 'dewarp'", EXCLUSIVE)


def visible(d: Draft) -> Iterator[Problem]:
    """A region that the pictures have, a lens that is described, a view of something."""
    for name, p in d.pipelines.items():
        path, (size, exact) = join("pipelines", name), _size(d, p)
        if p.roi is not None and size is not None and not inside(p.roi, *size):
            yield Problem(join(path, "roi"), *misfit(p.roi, *size))
        if p.dewarp is None:
            continue
        if size is not None and exact:
            # any format: a view is of the size alone
            problem = View(lens=p.dewarp).problem(FrameSpec(*size, PixelFormat.GREY))
            if problem is not None:
                key, *said = problem
                yield Problem(f"{path}.{key}", *said)
        elif p.dewarp.lens == "fisheye" and p.dewarp.focal is None:
            yield Problem(f"{path}.dewarp.focal", *NO_FOCAL)


def pointless(d: Draft) -> Iterator[str]:
    for path, table in d.raw_pipelines():
        view: Any = table.get("dewarp")
        if isinstance(view, dict) and view.get("lens") == "equirectangular":
            for key in (k for k in _FISHEYE_ONLY if k in view):
                yield f'{join(path, "dewarp")}.{key}: has no effect with lens = "equirectangular"'


CHECKS: Sequence[Callable[[Draft], Iterable[Problem]]] = (one_of_them, visible)
WARNINGS: Sequence[Callable[[Draft], Iterable[str]]] = (pointless,)
