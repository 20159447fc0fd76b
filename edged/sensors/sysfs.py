"""Small files of the kernel. One that is absent or does not answer (EAGAIN, EIO, ENODATA) is None, never zero."""

from __future__ import annotations

from pathlib import Path


def read(path: Path) -> str | None:
    """A small text file, stripped."""
    try:
        return path.read_text(errors="replace").rstrip("\0 \n").strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A file that holds one whole number."""
    text = read(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
