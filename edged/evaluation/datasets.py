"""Folders of pictures, recognized by what lies in them, with what their labels say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edged.errors import SourceError
from edged.evaluation import coco, yolo
from edged.evaluation.boxes import Truth
from edged.evaluation.files import DatasetError, entries, is_picture, pictures_below

Kind = Literal["coco", "yolo", "classes", "pictures"]
WORDS: dict[Kind, str] = {
    "coco": "COCO labels",
    "yolo": "YOLO labels",
    "classes": "a folder a class",
    "pictures": "no labels",
}
_LOOKED_FOR = (
    "COCO: DIR/*.json or DIR/annotations/*.json with 'images', 'annotations' and 'categories'",
    "YOLO: DIR/images with DIR/labels, or a text file beside each picture",
    "classes: a folder of pictures for each class",
    "no labels: pictures in DIR itself",
)


@dataclass(frozen=True, slots=True)
class Item:
    """A picture; `truth`: its objects, or its class (a key of Dataset.categories); None: not known."""

    file: Path
    truth: Truth | int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Pictures in a fixed order. `categories`: the dataset's class ids and names; empty: by number, as in the model.

    `whole`: how many pictures there were before a limit.
    """

    path: Path
    kind: Kind
    items: tuple[Item, ...]
    categories: Mapping[int, str]
    whole: int

    def name_of(self, item: Item) -> str:
        """The picture's path within the dataset."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return str(item.file.relative_to(folder)) if item.file.is_relative_to(folder) else str(item.file)

    def limited(self, limit: int | None) -> Dataset:
        """At most so many pictures, taken evenly from all, so that every class has its share."""
        n = len(self.items)
        if limit is None or limit >= n:
            return self
        return replace(self, items=tuple(self.items[i * n // limit] for i in range(limit)))

    def without_labels(self) -> Dataset:
        return replace(self, kind="pictures", items=tuple(Item(i.file) for i in self.items), categories={})


def read_dataset(path: Path) -> Dataset:
    """What `path` is: a folder, or COCO's JSON file. SourceError where it is none, or a label is not understood."""
    if not path.exists():
        raise SourceError(f"{path}: does not exist", hint="name a folder of pictures")
    for look in (_coco, _yolo, _classes, _pictures):
        found = look(path)
        if found is not None:
            return found
    what = "is a file" if path.is_file() else "is no set of pictures"
    raise DatasetError(f"{path}: {what}; looked for:\n  " + "\n  ".join(_LOOKED_FOR))


def _coco(path: Path) -> Dataset | None:
    file = coco.find(path)
    if file is None:
        return None
    labels = coco.read(file)
    items = [Item(f, t) for f, t in labels.pictures]
    return Dataset(path, "coco", tuple(items), labels.categories, len(items))


def _yolo(path: Path) -> Dataset | None:
    found = yolo.find(path)
    if found is None:
        return None
    items = [Item(picture, yolo.read(label)) for picture, label in found.pictures]
    return Dataset(path, "yolo", tuple(items), found.names, len(items))


def _classes(path: Path) -> Dataset | None:
    folders = [f for f in entries(path) if f.is_dir() and not f.name.startswith(".")]
    if not folders or any(map(is_picture, entries(path))) or [f.name for f in folders] == ["images"]:
        return None
    inside = [(f, pictures_below(f)) for f in folders]
    items = [Item(p, i) for i, (_, pictures) in enumerate(inside) for p in pictures]
    if not items:
        return None
    names = {i: folder.name for i, (folder, pictures) in enumerate(inside) if pictures}
    return Dataset(path, "classes", tuple(items), names, len(items))


def _pictures(path: Path) -> Dataset | None:
    folder = path if any(map(is_picture, entries(path))) else path / "images"
    items = tuple(Item(f) for f in entries(folder) if is_picture(f))
    return Dataset(path, "pictures", items, {}, len(items)) if items else None
