"""YOLO's labels: a text file a picture, a line an object, `class cx cy w h` in parts of the picture's size.

Lines of polygons (`class x1 y1 x2 y2 x3 y3 …`) give the box around them. A picture without a file shows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.evaluation.boxes import Truth
from edged.evaluation.files import DatasetError, entries, is_picture, pictures_below, read_text

_NAMES = ("classes.txt", "obj.names", "labels.txt")  # a class a line; these are no labels of a picture
_OUTSIDE = 0.01  # what rounding may put a box beyond the picture
_POLYGON = 7  # numbers from which on a line is one


@dataclass(frozen=True, slots=True)
class Found:
    """Pictures with their label files (which may be absent), and class names where a file has them."""

    pictures: tuple[tuple[Path, Path], ...]
    names: Mapping[int, str]


def find(path: Path) -> Found | None:
    """Labelled pictures: `path`/images with `path`/labels, a folder in the former, or text beside pictures."""
    images = path / "images" if (path / "images").is_dir() else path
    pictures = pictures_below(images) if images != path else [f for f in entries(path) if is_picture(f)]
    pairs = tuple((p, _label_of(p)) for p in pictures)
    if not any(label.is_file() for _, label in pairs):
        return None
    above = path.parents[: path.parts[::-1].index("images") + 1] if "images" in path.parts else []
    folders = (path, path / "labels", *above)
    names = next((f / n for f in folders for n in _NAMES if (f / n).is_file()), None)
    listed = read_text(names).split("\n") if names is not None else []
    return Found(pairs, {i: line.strip() for i, line in enumerate(listed) if line.strip()})


def _label_of(picture: Path) -> Path:
    """Beside the picture; or where the last folder `images` of its path reads `labels`."""
    beside = picture.with_suffix(".txt")
    parts = picture.parts
    if "images" not in parts or beside.is_file():
        return beside
    last = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")


def read(file: Path) -> Truth:
    """The objects in a label file; none where it is absent. DatasetError names the line."""
    return parse(read_text(file), str(file)) if file.is_file() else Truth.of([], relative=True)


def parse(text: str, where: str) -> Truth:
    """The objects of a label file's text; `where` names it in a DatasetError."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(_row(line.split()))
            except ValueError as e:
                raise DatasetError(
                    f"{where}, line {number}: {e}",
                    hint="a line is 'class cx cy w h', the last four from 0 to 1 in parts of the picture's size",
                ) from e
    return Truth.of(rows, relative=True)


def _row(words: list[str]) -> tuple[int, list[float], bool]:
    """ValueError says what is wrong."""
    if len(words) != 5 and (len(words) < _POLYGON or len(words) % 2 == 0):
        raise ValueError(f"{len(words)} numbers where 5 belong (or a polygon: a class and pairs)")
    try:
        class_id, values = float(words[0]), [float(w) for w in words[1:]]
    except ValueError:
        raise ValueError(f"'{' '.join(words)[:60]}' are not all numbers") from None
    if not (math.isfinite(class_id) and class_id >= 0 and class_id == int(class_id)):
        raise ValueError(f"class {words[0]} is no whole number from 0 on")
    if not all(math.isfinite(v) and -_OUTSIDE <= v <= 1 + _OUTSIDE for v in values):
        raise ValueError(f"{' '.join(words[1:])[:60]} are not all from 0 to 1")
    if len(values) == 4:
        cx, cy, w, h = values
        if min(w, h) < 0:
            raise ValueError(f"size {w} x {h} is negative")
        return int(class_id), [cx - w / 2, cy - h / 2, w, h], False
    xs, ys = values[::2], values[1::2]
    return int(class_id), [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)], False
