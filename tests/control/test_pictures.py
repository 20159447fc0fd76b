"""snapshot.jpg: the next picture of a pipeline in the pixels of its results, with what was found drawn in."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from edged.config.schema import DewarpOptions
from edged.control import handlers
from edged.control.pictures import draw, take
from edged.devices.reference import to_rgb
from edged.errors import MissingPackage
from edged.frames import U8, FrameSpec, PixelFormat
from edged.looks import Look
from edged.messages import Classification, Detection
from edged.views import WHOLE, View
from tests.control.fake import RESULT, Served
from tests.control.http import Answer, ask, connect
from tests.rig import make_frame, make_slots

cv2 = pytest.importorskip("cv2", reason="OpenCV is absent: edged[ort]")


def picture(api: Served, query: str = "") -> Answer:
    return ask(api.path, "GET", f"/v1/pipelines/front/snapshot.jpg{query}")


def decoded(jpeg: bytes) -> U8:
    out: U8 = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return out


def shown(spec: FrameSpec, pixels: int | U8, view: View = WHOLE, **result: object) -> U8:
    """What a look at a frame of such bytes gives."""
    slots = make_slots(1, spec)
    frame = make_frame(slots, 0, spec)
    slots.buffers[0][:] = pixels
    look = Look(view)
    look.see(frame)
    frame.release()
    look.tell(msgspec.structs.replace(RESULT, detections=[], **result))
    made = take(look, boxes=False, patience_s=0)
    assert slots.in_use == 0
    return decoded(made.jpeg)


def test_the_picture_says_when_it_was_taken(api: Served) -> None:
    before = time.time_ns()
    answer = picture(api)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert before <= int(answer.headers["edged-captured-at"]) <= time.time_ns()
    assert 0 <= float(answer.headers["edged-age-ms"]) < 60_000
    assert answer.headers["edged-frame-seq"] == "100"
    assert answer.headers["cache-control"] == "no-store"
    assert decoded(answer.body).shape == (2, 4, 3)
    assert api.steering.slots.in_use == 0


def test_a_picture_without_boxes_is_the_frame(api: Served) -> None:
    assert np.ptp(decoded(picture(api, "?boxes=false").body)) <= 3
    assert np.ptp(decoded(picture(api).body)) > 20


@pytest.mark.parametrize("format", PixelFormat)
@pytest.mark.parametrize(("matrix", "full_range"), [("bt601", False), ("bt709", True)])
@pytest.mark.parametrize("extra_pitch", [0, 64])
def test_every_format_comes_out_in_its_colours(
    format: PixelFormat, matrix: str, full_range: bool, extra_pitch: int
) -> None:
    plain = FrameSpec(32, 16, format, 0, matrix, full_range)  # type: ignore[arg-type]
    spec = replace(plain, pitch=plain.row_bytes + extra_pitch)
    # even pictures: JPEG keeps those; every byte of a pixel is another
    pixels = np.tile(np.array([90, 150, 90, 110], np.uint8), spec.nbytes // 4 + 1)[: spec.nbytes]
    if format in (PixelFormat.BGR, PixelFormat.RGB):
        pixels = np.resize(np.array([40, 120, 220], np.uint8), spec.nbytes)
        spec = plain
        pixels = pixels[: spec.nbytes]
    expected = to_rgb(spec, spec.views(pixels))[..., ::-1].mean(axis=(0, 1))
    assert shown(spec, pixels).mean(axis=(0, 1)) == pytest.approx(expected, abs=4)


def test_a_dewarped_pipeline_shows_its_view() -> None:
    lens = DewarpOptions(lens="equirectangular", size=(64, 48), fov=90)
    spec = FrameSpec(200, 100, PixelFormat.BGR)
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, 100:] = 255  # what is right of straight ahead
    seen = shown(spec, pixels.ravel(), View(lens=lens), dewarped=True, frame=(64, 48))
    assert seen.shape == (48, 64, 3)
    assert seen[:, :28].mean() < 10
    assert seen[:, 36:].mean() > 245


def test_what_was_found_is_drawn() -> None:
    blank = np.zeros((240, 320, 3), np.uint8)
    result = msgspec.structs.replace(
        RESULT,
        frame=(320, 240),
        roi=(10, 10, 300, 200),
        detections=[Detection("person", 1, 0.9, (100.0, 100.0, 50.0, 60.0), 7, [(120.0, 120.0)])],
        classes=[Classification("cat", 0, 0.5)],
        valid=False,
        invalid_reason="frozen",
    )
    made = draw(blank.copy(), result)
    assert made[100, 100:150].any(axis=1).all()  # the upper edge of the box
    assert made[120, 120].any()
    assert made[10, 10:310].any(axis=1).all()
    assert made[5:60, 8:120].any()  # text


@pytest.mark.parametrize("box", [(-1e9, -1e9, 3e9, 3e9), (0.0, 0.0, 0.0, 0.0), (1e5, 1e5, 1.0, 1.0)])
def test_boxes_beyond_the_picture_do_no_harm(box: tuple[float, float, float, float]) -> None:
    result = msgspec.structs.replace(RESULT, detections=[Detection("é∂\n", -3, 0.5, box)])
    assert draw(np.zeros((20, 30, 3), np.uint8), result).shape == (20, 30, 3)


@pytest.mark.parametrize("state", ["paused", "stopped"])
def test_a_pipeline_that_does_not_look_has_no_picture(api: Served, state: str) -> None:
    api.steering.states["front"] = (state, "as asked")
    answer = picture(api)
    assert (answer.status, answer.json["code"]) == (409, "busy")
    assert f"{state}, as asked" in answer.json["detail"]
    assert api.steering.looks == []


def test_a_pipeline_that_is_not_there(api: Served) -> None:
    assert ask(api.path, "GET", "/v1/pipelines/frnt/snapshot.jpg").status == 404


@pytest.mark.parametrize("what", ["picture", "result"])
def test_what_does_not_come_in_time(api: Served, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(handlers, "PICTURE_S", 0.05)

    def shows_half(look: Look) -> None:
        if what == "result":
            frame = make_frame(api.steering.slots, 0)
            look.see(frame)
            frame.release()

    api.steering.on_look = shows_half
    answer = picture(api)
    assert answer.status == 504
    assert f"no {what} came within 0.05 s" in answer.json["detail"]
    assert api.steering.slots.in_use == 0


def test_without_opencv_the_remedy_is_told(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise MissingPackage("opencv-python-headless", needed_by="a snapshot", extra="ort")

    monkeypatch.setattr("edged.control.pictures.opencv", absent)
    answer = picture(api)
    assert answer.status == 501
    assert "edged[ort]" in answer.json["hint"]
    assert api.steering.slots.in_use == 0


def test_a_client_that_goes_away_and_a_server_that_stops_leave_no_lease(api: Served) -> None:
    asked = threading.Semaphore(0)
    api.steering.on_look = lambda look: asked.release()
    head = b"GET /v1/pipelines/front/snapshot.jpg HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(api.path)) for _ in range(handlers.PICTURES)]
        for sock in clients:
            sock.sendall(head)
            assert asked.acquire(timeout=20)
        clients[0].close()
        began = time.monotonic()
        api.server.stop()
        assert time.monotonic() - began < handlers.PICTURE_S
    for look in api.steering.looks:
        assert look.frame(0) is None
        api.steering.show(look)  # late: nobody keeps it
    assert api.steering.slots.in_use == 0
