"""Kind "rtsp" against a real server that is killed, frozen, restarted and asked with wrong words."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import cv2
import pytest

from edged.errors import ExitCode, SourceError
from edged.sources._rtsp_options import RtspOptions
from edged.sources._rtsp_probe import _authorization
from edged.sources._rtsp_reader import KEEP_S, Limits, Reader
from edged.sources.rtsp import LEFT, SIZES_FROM
from tests import onnx_models
from tests.sources.make import slots, started
from tests.sources.rtsp import Server, camera, fault, read, refusal, saying, serving

EDGED = str(Path(sys.executable).with_name("edged"))
IN_TIME_S = 5.0
PASSWORD = "p@ss/w:rd%2?#ö"
QUOTED = "p%40ss%2Fw%3Ard%252%3F%23%C3%B6"
TELLS_SIZES = tuple(map(int, cv2.__version__.split(".")[:2])) >= SIZES_FROM


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--rate", "100") as s:
        yield s


@pytest.fixture(scope="module", params=["digest", "basic"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    basic = ["--basic"] if request.param == "basic" else []
    with serving("--rate", "100", "--user", "bob", "--password", PASSWORD, *basic) as s:
        yield s


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_lie_in_the_slots(server: Server, transport: str) -> None:
    with camera(server.url(), transport=transport) as s:
        given = started(s)
        seen = read(s, 20)
        assert seen == sorted(set(seen))
        frame = s.read(1.0)
        assert frame is not None
        assert (frame.spec.width, frame.spec.height) == (64, 48)
        assert (frame.planes[0] > 200).any(), "the ball"
        assert frame.timestamp_source == "dequeue"
        frame.release()
        assert (given.in_use, s.copies) == (0, 0)


def test_nothing_old_is_delivered_however_late_it_is_started(server: Server) -> None:
    """FFmpeg stores what comes while it looks at a stream, and the network what nobody reads."""
    with camera(server.url()) as s:
        given = slots(s.open())
        time.sleep(0.5)
        s.start(given)
        began = time.monotonic()
        seen = read(s, 20)
        assert time.monotonic() - began > 0.15, "20 pictures of 100 a second: stored ones would come at once"
        assert seen[0] == 0
        assert s.lost < 20


def test_killed_and_started_again_with_another_size_and_rate() -> None:
    with serving("--size", "64", "48") as server, camera(server.url()) as s:
        started(s)
        read(s, 3)
        server.kill()
        began = time.monotonic()
        e = fault(s)
        assert time.monotonic() - began < 0.5
        assert e.message == f"source 'gate' cannot read {server.url()}: the stream ended"
        assert e.hint
        with pytest.raises(SourceError, match="the stream ended"):  # again and again
            s.read(0.0)
        s.close()
        assert "the connection is refused" in refusal(s).message
        server.start("--size", "96", "32", "--rate", "200")
        spec = s.open()
        assert (spec.width, spec.height) == (96, 32)
        s.close()
        started(s)
        assert read(s)[0] == 0


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_frozen_server_holds_nobody(codec: str) -> None:
    with serving("--rate", "100", "--codec", codec) as server, camera(server.url(), open_timeout_s=0.8) as s:
        try:
            started(s)
            read(s, 3)
            server.freeze()
            began = time.monotonic()
            assert "no picture came for 1 s" in fault(s).message  # it checks that each read ends in time
            assert 0.9 < time.monotonic() - began < 1.9
            s.close()
            e = refusal(s)
            assert "the server takes the connection and says nothing" in e.message
            server.thaw()
            started(s)
            read(s, 3)
            server.freeze()
            time.sleep(0.2)
            began = time.monotonic()
            s.close()  # its thread is still in the library's hands
            assert time.monotonic() - began < 0.6
        finally:
            server.thaw()


def test_an_open_that_waits_is_interrupted() -> None:
    with saying(b"") as url, camera(url) as s:
        threading.Timer(0.3, s.interrupt).start()
        refusal(s, limit_s=1.5)
        s.interrupt()


def test_an_open_that_comes_after_the_interruption_does_not_wait() -> None:
    """A signal at boot, while OpenCV is being imported."""
    with saying(b"") as url, camera(url) as s:
        s.interrupt()
        refusal(s, limit_s=1.0)


class Ready:
    """OpenCV's handle of a stream that always has a picture."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def open(self, *_: object) -> bool:
        return True

    def grab(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def ready() -> Iterator[tuple[Ready, Reader]]:
    handle = Ready()
    opencv = SimpleNamespace(VideoCapture=lambda: handle, CAP_PROP_POS_MSEC=0)
    reader = Reader("test", opencv, [()], Limits(5.0, 5.0), lambda _: ("", ""))
    reader.start()
    assert reader.opened(5.0)
    reader.begin()
    yield handle, reader
    reader.done()
    reader.stop()
    reader.join()


def test_a_fast_camera_is_not_held_up(ready: tuple[Ready, Reader]) -> None:
    """One of 60 pictures a second that was read at 50 would be seconds behind within a minute."""
    _, reader = ready
    began = time.monotonic()
    for _ in range(100):
        assert reader.take(1.0) is not None
        reader.done()
    assert time.monotonic() - began < 100 * KEEP_S / 2


def test_a_stream_is_not_released_under_whoever_retrieves_a_picture(ready: tuple[Ready, Reader]) -> None:
    """`interrupt` comes from another thread, at any moment; OpenCV would crash."""
    handle, reader = ready
    assert reader.take(1.0) is not None
    reader.stop()
    assert not handle.released.wait(0.2)
    reader.done()
    assert handle.released.wait(5.0)
    assert reader.take(0.0) is None


def test_attempts_that_hang_are_not_heaped_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a name server that does not answer: the library keeps no limit there."""
    go = threading.Event()

    class Stuck:
        def open(self, *_: object) -> bool:
            return not go.wait(10)

        def release(self) -> None:
            return

    monkeypatch.setattr(cv2, "VideoCapture", Stuck)
    monkeypatch.setattr("edged.sources.rtsp.GRACE_S", 0.0)
    with camera("rtsp://127.0.0.1/x", open_timeout_s=0.1) as s:
        for _ in range(LEFT):
            assert "no picture within 0.1 s" in refusal(s, limit_s=1.5).message
            s.close()
        assert f"{LEFT} earlier attempts still hang" in refusal(s).message
        go.set()


def test_credentials(guarded: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    (tmp_path / "wrong").write_text("hunter2")
    bare = guarded.url()
    right: list[dict[str, Any]] = [
        {"url": guarded.url(f"bob:{QUOTED}@")},
        {"url": bare, "username": "bob", "password_file": str(tmp_path / "secret")},
    ]
    for options in right:
        with camera(**options) as s:
            started(s)
            read(s)
            assert PASSWORD not in repr(s.options)
            assert QUOTED not in repr(s.options)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"url": bare}, "the camera wants a user and a password (401)"),
        ({"url": guarded.url("bob:hunter2@")}, "the camera refuses this user or password (401)"),
        (
            {"url": bare, "username": "eve", "password_file": str(tmp_path / "wrong")},
            "the camera refuses this user or password (401)",
        ),
        ({"url": guarded.url(f"bob:{QUOTED}@", "dam")}, "the camera has no such stream (404)"),
    ]
    for options, said in wrong:
        with camera(**options) as s:
            e = refusal(s, limit_s=1.0)
        assert said in e.message
        assert e.hint
        shown = f"127.0.0.1:{guarded.port}/"
        assert shown in e.message
        assert not any(secret in str(e) for secret in ("hunter2", "bob", "eve", PASSWORD, QUOTED))
    assert capfd.readouterr() == ("", ""), "nothing of FFmpeg's or OpenCV's own"


def test_a_password_from_the_environment(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with camera(guarded.url(), username="bob", password_env="GATE_PASSWORD") as s:
        assert "finds no environment variable GATE_PASSWORD" in refusal(s).message
        monkeypatch.setenv("GATE_PASSWORD", PASSWORD)
        s.open()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "takes the connection and says nothing"),
        (None, "takes the connection and says nothing"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "is not RTSP, it is HTTP/1.1"),
        (bytes(range(128, 256)) * 500, "is not RTSP"),
        (b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n", "has no such stream (404)"),
        (b"RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n", "forbids it (403)"),
        (b"RTSP/1.0 500 Oops\r\nCSeq: 1\r\n\r\n", "status 500"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 10\r\n\r\nm=audio 0\n", "has no video"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 99999\r\n\r\n" + b"x" * 20000, "has no video"),
        (
            b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 47\r\n\r\n"
            b"v=0\nm=video 0 RTP/AVP 99\na=rtpmap:99 VP10/90000\n",
            "describes a stream (VP10), but no picture of it comes",
        ),
    ],
)
def test_what_is_no_stream_is_named_in_time(answer: bytes | None, said: str) -> None:
    with saying(answer) as url, camera(url, open_timeout_s=0.5) as s:
        e = refusal(s, limit_s=1.5)
    assert said in e.message
    assert f"cannot open {url}: " in e.message
    assert e.hint


def test_a_comma_in_a_realm_is_a_part_of_it() -> None:
    """Else every password would be called wrong there."""
    challenge = (
        b'RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm="Gate, left", nonce="n", qop="auth-int, auth"\r\n'
    )
    header = _authorization(challenge, "rtsp://h/x", ("bob", "secret"))
    assert 'realm="Gate, left"' in header
    assert "qop=auth," in header


def test_no_server_and_no_host() -> None:
    with camera("rtsp://127.0.0.1:1/x") as s:
        assert "the connection is refused" in refusal(s).message
    with camera("rtsp://nowhere.invalid/x") as s:
        assert "the host nowhere.invalid is unknown" in refusal(s).message
    with (
        saying(b"RTSP/1.0 400 Bad Request\r\n\r\n") as url,
        camera(url.replace("rtsp:", "rtsps:"), open_timeout_s=0.5) as s,
    ):
        assert "no TLS that is known" in refusal(s).message


def test_a_larger_picture_is_refused(server: Server) -> None:
    with camera(server.url(), max_size=(64, 47)) as s:
        e = refusal(s)
    assert f"has pictures of 64x48 from {server.url()}, larger than max_size = [64, 47]" in e.message


def test_a_size_that_changes_in_mid_stream(caplog: pytest.LogCaptureFixture) -> None:
    with serving("--size", "96", "64") as server, camera(server.url()) as s:
        started(s)
        assert ("damages pictures unseen" in caplog.text) is not TELLS_SIZES
        read(s, 3)
        server.tell("size 64 48")
        if not TELLS_SIZES:
            pytest.skip(f"OpenCV {cv2.__version__} does not tell; edged says so at open")
        e = fault(s)
        assert f"got a picture of 64x48 from {server.url()}, opened with 96x64" in e.message
        s.close()
        spec = s.open()
        assert (spec.width, spec.height) == (64, 48)


def test_a_stream_that_ends_in_good_order() -> None:
    with serving() as server, camera(server.url()) as s:
        started(s)
        read(s, 3)
        server.tell("end")
        assert fault(s).hint


def test_ten_failures_leave_nothing(server: Server) -> None:
    """tests/conftest.py looks for threads and descriptors."""
    with camera(server.url()) as s:
        for _ in range(5):
            s.open()
            s.close()
    with camera(server.url(path="no")) as s:
        for _ in range(5):
            refusal(s)


def test_a_pipeline_needs_gstreamer() -> None:
    pipeline = 'rtspsrc location={url} user-pw="a b" ! appsink'
    with camera("rtsp://bob:hunter2@127.0.0.1/x", pipeline=pipeline) as s:
        if cv2.CAP_GSTREAMER not in cv2.videoio_registry.getBackends():
            e = refusal(s)
            assert f"cannot play its pipeline: this OpenCV ({cv2.__version__}) has no GStreamer" in e.message
            assert "--system-site-packages" in e.hint
        registry = SimpleNamespace(getBackends=lambda: (cv2.CAP_GSTREAMER,))
        other = SimpleNamespace(
            **{k: getattr(cv2, k) for k in dir(cv2) if k.startswith(("CAP_", "__version__"))},
            videoio_registry=registry,
        )
        ways = s._ways(other, urlsplit(s.options.url or ""), ("bob", "a b"))
        text = 'rtspsrc location=rtsp://bob:a%20b@127.0.0.1/x user-pw="a b" ! appsink'
        assert [w[:2] for w in ways] == [(text, cv2.CAP_GSTREAMER)] * 2
    with camera("rtsp://127.0.0.1/x") as s, pytest.raises(SourceError, match="has no FFmpeg"):
        s._ways(other, urlsplit("rtsp://127.0.0.1/x"), None)


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({}, "url", "is missing"),
        ({"url": "http://x/y"}, "url", "is no address"),
        ({"url": "rtsp:///y"}, "url", "is no address"),
        ({"url": "rtsp://u:p/w@host/y"}, "url", "is no address"),
        ({"url": "rtsp://[::1/y"}, "url", "is no address"),
        ({"url": "rtsp://h/a b"}, "url", "blank"),
        ({"url": "rtsp://h/y", "pipeline": "x ! appsink"}, "url", "has no effect"),
        ({"pipeline": "rtspsrc location={url} ! appsink"}, "url", "is missing"),
        ({"pipeline": "x ! fakesink"}, "pipeline", "has no appsink"),
        (
            {"url": "rtsp://h/y", "username": "u", "password_env": "A", "password_file": "/f"},
            "password_env",
            "exclude each other",
        ),
        ({"url": "rtsp://h/y", "password_file": "/f"}, "password_file", "needs a username"),
        ({"url": "rtsp://h/y", "username": "u"}, "username", "needs a password"),
        ({"url": "rtsp://u@h/y", "username": "u", "password_env": "A"}, "username", "is in url as well"),
    ],
)
def test_contradictions(options: dict[str, Any], key: str, said: str) -> None:
    ((found, text),) = RtspOptions(**options).problems()
    assert found == key
    assert said in text
    assert "; " in text


# The daemon.

CONFIG = """
[pipelines.front]
source = {{kind = "rtsp", url = "{url}", open_timeout_s = 60.0, read_timeout_s = 60.0}}
model = "m"
sinks = ["log"]
[models.m]
path = "m"
[sinks.log]
kind = "jsonl"
"""


def run(folder: Path, url: str) -> subprocess.Popen[str]:
    (folder / "m").mkdir()
    onnx_models.model_toml(folder / "m", onnx_models.relu(folder / "m" / "m.onnx"), size=(6, 4))
    (folder / "edged.toml").write_text(CONFIG.format(url=url))
    return subprocess.Popen(
        [EDGED, "run", "edged.toml", "--quiet"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def ended(child: subprocess.Popen[str]) -> str:
    """Stop it; what it said on stderr."""
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    try:
        _, err = child.communicate(timeout=20)
    finally:
        child.kill()
    assert time.monotonic() - began < IN_TIME_S
    assert child.returncode == ExitCode.OK, err
    return err


def test_a_process_that_reads_from_a_frozen_server_ends_in_time(tmp_path: Path) -> None:
    with serving("--user", "bob", "--password", "hunter2") as server:
        child = run(tmp_path, server.url("bob:hunter2@"))
        assert child.stdout is not None
        for line in child.stdout:
            if '"type":"result"' in line.replace(" ", ""):
                assert "hunter2" not in line
                break
        server.freeze()
        time.sleep(0.3)
        err = ended(child)
    assert err.endswith("edged: ended: signal (exit status 0)\n")
    assert "hunter2" not in err


def test_a_camera_that_comes_back_with_another_size_is_taken_up_again(tmp_path: Path) -> None:
    with serving("--rate", "100") as server:
        child = run(tmp_path, server.url())
        assert child.stdout is not None
        sizes = []
        for line in child.stdout:
            message = json.loads(line)
            if message["type"] != "result" or message["frame"] in sizes:
                continue
            sizes.append(message["frame"])
            if len(sizes) == 2:
                break
            server.kill()
            server.start("--rate", "100", "--size", "96", "32")
        err = ended(child)
    assert sizes == [[64, 48], [96, 32]]
    assert "the stream ended" in err


def test_a_process_that_waits_for_a_silent_server_ends_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        child = run(tmp_path, f"rtsp://bob:hunter2@127.0.0.1:{listener.getsockname()[1]}/cam")
        with listener.accept()[0]:
            err = ended(child)
    assert "hunter2" not in err


def test_a_capture_that_waits_for_a_silent_server_ends_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        url = f"rtsp://bob:hunter2@127.0.0.1:{listener.getsockname()[1]}/cam"
        child = subprocess.Popen(
            [EDGED, "capture", url, "pictures"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        with listener.accept()[0]:
            began = time.monotonic()
            child.send_signal(signal.SIGINT)
            said, _ = child.communicate(timeout=20)
    assert time.monotonic() - began < 2.5
    assert (child.returncode, said) == (130, "no picture: interrupted\n")
