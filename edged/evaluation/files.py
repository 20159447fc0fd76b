"""Pictures in folders, and the error that all datasets share."""

from __future__ import annotations

from pathlib import Path

from edged.errors import SourceError
from edged.sources.images import SUFFIXES


class DatasetError(SourceError):
    """A folder or a label file that is not understood."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(
            message, hint=hint or "correct it, or name another folder; README.md has the layouts"
        )


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing where there is none. DatasetError where it cannot be read."""
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as e:
        raise DatasetError(f"{folder}: cannot be read: {e.strerror or e}", hint="check permissions") from e


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a folder and its subfolders, by path."""
    return sorted(p for p in folder.rglob("*") if is_picture(p))


def read_text(file: Path) -> str:
    """DatasetError where it cannot be read or is no text."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        said = e.strerror if isinstance(e, OSError) else "not text in UTF-8"
        raise DatasetError(f"{file}: cannot be read: {said}") from e
