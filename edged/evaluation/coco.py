"""COCO's labels: one JSON file with `images`, `annotations` and `categories`; boxes are x, y, w, h in pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edged.evaluation.boxes import Truth
from edged.evaluation.files import DatasetError, entries

_INSTANCES = "instances_"


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, slots=True)
class Labels:
    """Pictures in the order of their ids with what they show; `categories`: id -> name."""

    pictures: tuple[tuple[Path, Truth], ...]
    categories: Mapping[int, str]


def find(path: Path) -> Path | None:
    """The label file: `path` itself, or the one in the folder. DatasetError where there are several."""
    if path.is_file():
        return path if path.suffix.lower() == ".json" else None
    files = [f for f in (*entries(path), *entries(path / "annotations")) if f.suffix.lower() == ".json"]
    files = [f for f in files if f.name.startswith(_INSTANCES)] or [f for f in files if _is_labels(f)]
    if len(files) > 1:
        raise DatasetError(
            f"{path}: has {len(files)} label files: {', '.join(str(f.relative_to(path)) for f in files)}",
            hint=f"name one of them: edged model eval DIR {files[0]}",
        )
    return files[0] if files else None


def _is_labels(file: Path) -> bool:
    """Whether it has COCO's three lists; settings and the like lie beside pictures, too."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError):
        return False
    return {"images", "annotations", "categories"} <= found.keys()


def read(file: Path) -> Labels:
    """DatasetError where it is not whole, contradicts itself, or its pictures are not found."""
    try:
        data = file.read_bytes()
    except OSError as e:
        raise DatasetError(f"{file}: cannot be read: {e.strerror or e}") from e
    found, truths = parse(data, str(file))
    folder = _folder(file, found)
    pictures = tuple((folder / i.file_name, truths[i.id]) for i in sorted(found.images, key=lambda i: i.id))
    return Labels(pictures, {c.id: c.name for c in found.categories})


def parse(data: bytes, where: str) -> tuple[_File, dict[int, Truth]]:
    """The file's lists, and what each picture (by id) shows. `where` names the file in a DatasetError."""
    try:
        found = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise DatasetError(f"{where}: is no file of COCO's labels: {e}") from e
    rows: dict[int, list[tuple[int, list[float], bool]]] = {i.id: [] for i in found.images}
    categories = {c.id for c in found.categories}
    for number, a in enumerate(found.annotations):
        at = f"{where}: annotations[{number}]"
        if a.image_id not in rows:
            raise DatasetError(f"{at}: there is no image {a.image_id}")
        if a.category_id not in categories:
            raise DatasetError(f"{at}: there is no category {a.category_id}")
        if not all(map(math.isfinite, a.bbox)) or min(a.bbox[2:]) < 0:
            raise DatasetError(f"{at}: bbox {list(a.bbox)} is no x, y, width, height")
        rows[a.image_id].append((a.category_id, list(a.bbox), bool(a.iscrowd)))
    if len(rows) != len(found.images):
        raise DatasetError(f"{where}: two images have one id")
    if not rows:
        raise DatasetError(f"{where}: has no images")
    return found, {image: Truth.of(r) for image, r in rows.items()}


def _folder(file: Path, found: _File) -> Path:
    """Where the pictures lie: beside the file or where COCO's own folders have them."""
    split = file.stem.removeprefix(_INSTANCES)
    roots = (file.parent, file.parent.parent) if file.parent.name == "annotations" else (file.parent,)
    tried = [root / sub for root in roots for sub in ("", "images", split, f"images/{split}")]
    name = found.images[0].file_name
    for folder in tried:
        if (folder / name).is_file():
            return folder
    raise DatasetError(
        f"{file}: picture '{name}' is in none of {', '.join(map(str, dict.fromkeys(tried)))}",
        hint="put the pictures, or a link to their folder, into one of these",
    )
