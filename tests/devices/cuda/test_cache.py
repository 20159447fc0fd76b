from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from edged.devices.cuda.cache import KernelCache, key_of
from edged.devices.cuda.nvrtc import Image

KEY = key_of("source", "options")
CUBIN = Image(b"\x7fELF code", False)


class Maker:
    """Counts how often it is asked to compile."""

    def __init__(self, image: Image = CUBIN) -> None:
        self.image, self.count = image, 0

    def __call__(self) -> Image:
        self.count += 1
        return self.image


@pytest.mark.parametrize("image", [CUBIN, Image(b".version 8\0", True)])
def test_a_second_start_compiles_nothing(tmp_path: Path, image: Image) -> None:
    make, folder = Maker(image), tmp_path / "a" / "kernels"
    for _ in range(2):
        assert KernelCache(folder).get(KEY, make) == image
    assert make.count == 1
    assert [f.name for f in folder.iterdir()] == [KEY]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600


def test_keys_tell_where_parts_end() -> None:
    assert key_of("ab", "c") != key_of("a", "bc") != key_of("abc")


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-1],
        lambda d: b"",
        lambda d: d[:30],
        lambda d: d.replace(b"code", b"c0de"),
        lambda d: d.replace(b"cubin", b"ptx  "),
    ],
)
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: object) -> None:
    make = Maker()
    KernelCache(tmp_path).get(KEY, make)
    path = tmp_path / KEY
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    for _ in range(2):
        assert KernelCache(tmp_path).get(KEY, make) == make.image
    assert make.count == 2


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache, make = KernelCache(tmp_path / "file" / "kernels"), Maker()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert cache.get(KEY, make) == make.image
    assert make.count == 3
    assert len(caplog.records) == 1
    assert "make the folder writable" in caplog.text


def test_a_full_disk_leaves_no_half_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert KernelCache(tmp_path).get(KEY, Maker()) == Maker().image
    assert not list(tmp_path.iterdir())
    assert "No space left" in caplog.text


def test_no_folder_keeps_nothing() -> None:
    make = Maker()
    cache = KernelCache(None)
    cache.get(KEY, make)
    cache.get(KEY, make)
    assert make.count == 2
