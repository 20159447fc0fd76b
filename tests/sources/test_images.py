from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import SourceError
from edged.frames import Frame
from edged.interfaces import EndOfStream
from edged.sources._pictures import complete, header_size
from edged.sources.images import GREY, ImagesOptions, ImagesSource
from tests.sources.make import picture, slots, started, write_pictures


def source(path: Path | None = None, **options: Any) -> ImagesSource:
    return ImagesSource("i", ImagesOptions(path=None if path is None else str(path), **options))


def take(s: ImagesSource) -> Frame:
    frame = s.read(1.0)
    assert frame is not None
    return frame


def test_pictures_keep_their_pixels_at_the_top_left(tmp_path: Path) -> None:
    sizes = [(20, 10), (8, 16), (20, 16)]
    files = write_pictures(tmp_path / "p", sizes)
    s = source(tmp_path / "p")
    given = started(s, 1)  # one slot: what was there before is overwritten
    given.buffers[0][:] = 7
    for n, (file, (w, h)) in enumerate(zip(files, sizes, strict=True)):
        frame = take(s)
        plane = frame.planes[0]
        assert (frame.spec.width, frame.spec.height) == (20, 16)
        assert (plane[:h, :w] == picture(n, (w, h))).all()
        rest = plane.copy()
        rest[:h, :w] = GREY
        assert (rest == GREY).all()
        assert frame.tags == {"file": str(file), "size": (w, h)}
        assert frame.timestamp_source == "file"
        frame.release()
    with pytest.raises(EndOfStream):
        s.read(0.0)
    s.close()


def test_order_is_by_name_and_other_files_are_left_alone(tmp_path: Path) -> None:
    write_pictures(tmp_path, [(4, 4)] * 3, ".bmp")
    (tmp_path / "README.md").write_text("no picture")
    (tmp_path / "sub.png").mkdir()
    s = source(tmp_path)
    started(s)
    names = []
    for _ in range(3):
        frame = take(s)
        names.append(Path(frame.tags["file"]).name)
        frame.release()
    assert names == ["000.bmp", "001.bmp", "002.bmp"]
    s.close()


def test_a_list_is_taken_in_its_order_and_loops(tmp_path: Path) -> None:
    a, b = write_pictures(tmp_path, [(4, 4)] * 2)
    s = source(paths=(str(b), str(a)), loop=True)
    started(s)
    for file in (b, a, b, a, b):
        frame = take(s)
        assert frame.tags["file"] == str(file)
        frame.release()
    s.close()


def test_one_file_and_a_given_size(tmp_path: Path) -> None:
    (file,) = write_pictures(tmp_path, [(4, 6)])
    s = source(file, size=(10, 8))
    spec = s.open()
    assert (spec.width, spec.height) == (10, 8)
    s.close()
    with pytest.raises(SourceError, match=r"000\.png of 4x6, larger than its size = \[4, 5\]"):
        source(file, size=(4, 5)).open()


def cut(file: Path, keep: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])


def test_what_is_no_source_of_pictures_is_refused_at_open(tmp_path: Path) -> None:
    (good,) = write_pictures(tmp_path / "good", [(4, 4)])
    empty = tmp_path / "empty.png"
    empty.touch()
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    (tmp_path / "nothing").mkdir()
    refused: list[tuple[ImagesSource, str]] = [
        (source(tmp_path / "absent"), "absent: No such file"),
        (source(tmp_path / "nothing"), "finds no pictures in .*nothing"),
        (source(paths=(str(good), str(empty))), r"empty\.png: it is empty \(0 bytes\)"),
        (source(text), r"cannot decode .*text\.jpg"),
        (source(good / "below"), "Not a directory"),
        (source(paths=(str(tmp_path),)), "Is a directory"),
        (source(), "path is missing"),
        (source(good, paths=(str(good),)), "paths is given beside path"),
    ]
    for s, message in refused:
        with pytest.raises(SourceError, match=message) as e:
            s.open()
        assert str(e.value).startswith("source 'i' ")
        assert e.value.hint
        s.close()


@pytest.mark.parametrize("size", [(0, 0), (4, 0), (2**31 - 1, 2**31 - 1), (1 << 16, 1 << 15)])
def test_a_size_that_no_picture_has_is_refused_at_open(tmp_path: Path, size: tuple[int, int]) -> None:
    """A damaged header asks for no memory."""
    (file,) = write_pictures(tmp_path, [(4, 4)])
    data = bytearray(file.read_bytes())
    struct.pack_into(">II", data, 16, *size)
    file.write_bytes(data)
    s = source(tmp_path)
    with pytest.raises(SourceError, match=rf"cannot decode .*: its header says {size[0]}x{size[1]}"):
        s.open()
    s.close()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_picture_that_is_cut_off_is_named_when_read_and_the_next_one_still_comes(
    tmp_path: Path, suffix: str
) -> None:
    broken, _good = write_pictures(tmp_path, [(64, 64)] * 2, suffix)
    s = source(tmp_path, size=(64, 64))
    spec = s.open()
    s.start(slots(spec))
    cut(broken, 0.7)  # after the listing, whose look at the header would not show it for all formats
    with pytest.raises(SourceError, match=rf"cannot decode .*{broken.name}") as e:
        s.read(0.0)
    assert e.value.hint
    frame = take(s)
    assert frame.seq == 1
    frame.release()
    s.close()


def test_a_picture_that_vanished_or_grew_is_named(tmp_path: Path) -> None:
    gone, grown = write_pictures(tmp_path, [(8, 8)] * 2)
    s = source(tmp_path)
    started(s)
    gone.unlink()
    assert cv2.imwrite(str(grown), picture(0, (9, 8)))
    with pytest.raises(SourceError, match=r"000\.png: No such file"):
        s.read(0.0)
    with pytest.raises(SourceError, match=r"001\.png of 9x8, larger than when"):
        s.read(0.0)
    s.close()


def with_exif(jpeg: bytes, orientation: int, order: str) -> bytes:
    """A JPEG with an Exif segment that has one entry, the orientation."""
    tiff = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0
    )
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_header_sizes_agree_with_the_decoder_in_every_orientation(orientation: int, order: str) -> None:
    ok, jpeg = cv2.imencode(".jpg", picture(1, (32, 16)))
    assert ok
    data = with_exif(jpeg.tobytes(), orientation, order)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    h, w = decoded.shape[:2]
    assert header_size(data) == (w, h)
    assert complete(data)


@pytest.mark.parametrize(
    ("suffix", "parameters"),
    [(".png", []), (".jpg", []), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])],
)
def test_every_cut_is_seen(suffix: str, parameters: list[int]) -> None:
    ok, out = cv2.imencode(suffix, picture(1, (40, 24)), parameters)
    assert ok
    data = out.tobytes()
    assert header_size(data) == (40, 24)
    assert complete(data)
    assert not any(complete(data[:n]) for n in range(8, len(data) - 8))
    assert complete(data + b"trailing")


@given(
    head=st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\x00\x20Exif\0\0II", b"\x89PNG\r\n\x1a\n"]),
    tail=st.binary(max_size=100),
)
def test_no_bytes_break_the_look_at_headers(head: bytes, tail: bytes) -> None:
    header_size(head + tail)
    complete(head + tail)


def test_sizes_of_real_photographs_need_no_decoding(shared: Path) -> None:
    for file in sorted((shared / "coco" / "images").glob("*.jpg"))[:20]:
        data = file.read_bytes()
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert header_size(data) == decoded.shape[1::-1]
        assert complete(data)
