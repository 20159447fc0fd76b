"""What each route answers, and how it refuses."""

from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged import __version__
from edged.control import handlers
from edged.control.answers import ProblemDocument, Status
from edged.control.problems import document, status_of
from edged.control.server import ControlServer
from edged.errors import (
    ConfigError,
    DeviceError,
    EdgedError,
    EngineError,
    MemoryRefused,
    MissingPackage,
    Problem,
)
from edged.steering import Busy, NoSuchThing, RequestError, Stale
from tests.control.fake import DATA, IDENTITY, SECRET, Served, event
from tests.control.http import Answer, ask, connect

PATCH = {"Content-Type": "application/merge-patch+json"}
ANY = {"If-Match": "*"}


def get(api: Served, target: str, **headers: str) -> Answer:
    return ask(api.path, "GET", target, headers=headers)


def test_status_is_the_snapshot_and_who_says_it(api: Served) -> None:
    status = msgspec.json.decode(get(api, "/v1/status").body, type=Status)
    assert (status.device, status.session_id, status.version) == (
        *msgspec.structs.astuple(IDENTITY),
        __version__,
    )
    assert status.pid == os.getpid()
    assert status.snapshot.pipelines["front"].inferred == 100


def test_many_who_ask_at_once_get_one_snapshot(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "FRESH_S", 60.0)
    assert {get(api, "/v1/status").json["snapshot"]["at"] for _ in range(5)} == {
        get(api, "/v1/status").json["snapshot"]["at"]
    }


@pytest.mark.parametrize("which", ["live", "ready"])
def test_health_is_503_with_the_reason(api: Served, which: str) -> None:
    assert get(api, f"/v1/health/{which}").status == 200
    api.steering.not_ready = api.steering.not_alive = "runner faces does not come back"
    answer = get(api, f"/v1/health/{which}")
    assert (answer.status, answer.json["ok"]) == (503, False)
    assert answer.json["reason"] == "runner faces does not come back"


def test_readiness_says_how_each_pipeline_is(api: Served) -> None:
    api.steering.states["rear"] = ("faulted", "no camera")
    assert get(api, "/v1/health/ready").json["pipelines"] == {
        "front": {"state": "running"},
        "rear": {"state": "faulted", "reason": "no camera"},
    }


def test_the_configuration_comes_without_secrets_and_with_its_etag(api: Served) -> None:
    answer = get(api, "/v1/config")
    assert SECRET.encode() not in answer.body
    assert answer.json["data"]["sources"]["front"]["url"] == "rtsp://***@10.0.0.5/stream"
    assert answer.headers["etag"] == f'"{api.steering.config().etag}"'


def test_a_patch_changes_what_it_names_and_keeps_the_secrets(api: Served) -> None:
    patch = {"pipelines": {"front": {"every": 2, "sinks": None}}}
    answer = ask(api.path, "PATCH", "/v1/config", patch, {**PATCH, **ANY})
    assert (answer.status, answer.json["state"], answer.json["revision"]) == (200, "trial", 2)
    assert answer.json["by"].startswith(f"uid {os.getuid()}")
    data = api.steering.config().data
    assert data["pipelines"]["front"] == {"source": "front", "model": "faces", "every": 2}
    assert data["sources"] == DATA["sources"]


def test_what_was_read_can_be_sent_back(api: Served) -> None:
    read = get(api, "/v1/config")
    wanted = {**read.json["data"], "device": {"id": "robot-8"}}
    answer = ask(api.path, "PUT", "/v1/config", wanted, {"If-Match": read.headers["etag"]})
    assert answer.status == 200
    assert api.steering.config().data == {**DATA, "device": {"id": "robot-8"}}
    assert SECRET.encode() not in answer.body


def test_a_hidden_secret_in_another_place_is_refused(api: Served) -> None:
    patch = {"sources": {"rear": {"kind": "rtsp", "url": "rtsp://***@10.0.0.6/stream"}}}
    answer = ask(api.path, "PATCH", "/v1/config", patch, {**PATCH, **ANY})
    assert answer.status == 422
    assert answer.json["problems"][0]["path"] == "sources.rear.url"


def test_a_change_must_say_what_it_was_made_from(api: Served) -> None:
    for method, headers in (("PUT", {}), ("PATCH", PATCH)):
        answer = ask(api.path, method, "/v1/config", DATA, headers)
        assert (answer.status, answer.json["code"]) == (428, "precondition-required")


@pytest.mark.parametrize("etags", ['"old"', '"old", "older"', 'W/"{now}"', "nonsense", ""])
def test_a_change_made_from_another_revision_is_stale(api: Served, etags: str) -> None:
    headers = {"If-Match": etags.replace("{now}", api.steering.config().etag)}
    answer = ask(api.path, "PUT", "/v1/config", DATA, headers)
    assert (answer.status, answer.json["code"]) == (412, "stale")
    assert api.steering.config().revision == 1


def test_whichever_it_is_is_never_stale(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that ends between the look and the change."""
    apply, ends = api.steering.apply, iter([True, True, False])

    def changing(data: Any, *, base: str | None, by: str) -> Any:
        return apply(data, base="before" if next(ends) else base, by=by)

    monkeypatch.setattr(api.steering, "apply", changing)
    patch = {"pipelines": {"front": {"every": 2}}}
    assert ask(api.path, "PATCH", "/v1/config", patch, {**PATCH, **ANY}).status == 200


def test_one_of_several_etags_is_enough(api: Served) -> None:
    headers = {"If-Match": f'"old", "{api.steering.config().etag}"'}
    assert ask(api.path, "PUT", "/v1/config", DATA, headers).status == 200


def test_every_problem_of_a_configuration_is_told(api: Served) -> None:
    patch = {"pipelines": {"front": {"evry": 2, "model": "nose"}}}
    answer = ask(api.path, "PATCH", "/v1/config", patch, {**PATCH, **ANY})
    assert (answer.status, answer.json["code"]) == (422, "config-error")
    assert {p["path"] for p in answer.json["problems"]} == {"pipelines.front.evry", "pipelines.front.model"}
    assert all(p["hint"] for p in answer.json["problems"])


@pytest.mark.parametrize("patch", [{"device": {"id": "\ud800"}}, {"models": {"\udcff": {}}}])
def test_half_a_character_is_a_problem_that_is_told(api: Served, patch: dict[str, Any]) -> None:
    answer = ask(api.path, "PATCH", "/v1/config", patch, {**PATCH, **ANY})
    assert (answer.status, answer.json["code"]) == (422, "config-error")
    assert r"is no text: \ud" in answer.json["problems"][0]["message"]
    api.steering.refuse = ConfigError("b\udcff.toml", [Problem("models.\ud800", "no \ud800", "no \ud800")])
    answer = ask(api.path, "PATCH", "/v1/config", {}, {**PATCH, **ANY})
    assert answer.json["problems"][0]["path"] == r"models.\ud800"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"\xff", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/merge-patch+json"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_body_that_is_no_configuration(
    api: Served, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = ask(api.path, "PUT", "/v1/config", body, {**ANY, **headers})
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["hint"]


def test_history_and_revert(api: Served) -> None:
    ask(api.path, "PATCH", "/v1/config", {"device": {"id": "robot-8"}}, {**PATCH, **ANY})
    answer = ask(api.path, "POST", "/v1/config/revert", {"revision": 1})
    assert (answer.status, answer.json["revision"]) == (200, 3)
    assert api.steering.config().data == DATA
    revisions = get(api, "/v1/config/history").json["revisions"]
    assert [r["revision"] for r in revisions] == [3, 2, 1]
    assert ask(api.path, "POST", "/v1/config/revert", {}).status == 200
    assert ask(api.path, "POST", "/v1/config/revert", {"revision": 99}).status == 404
    assert ask(api.path, "POST", "/v1/config/revert", {"revison": 1}).status == 400


def test_reload(api: Served) -> None:
    assert ask(api.path, "POST", "/v1/config/reload").json["revision"] == 2


def test_pipelines_are_paused_resumed_and_restarted(api: Served) -> None:
    for verb, health in (("pause", "paused"), ("resume", "running"), ("restart", "running")):
        answer = ask(api.path, "POST", f"/v1/pipelines/front/{verb}")
        assert (answer.status, answer.json) == (200, {"pipeline": "front", "health": health})
    assert [verb for _, verb in api.steering.verbs] == ["pause", "resume", "restart"]
    assert ask(api.path, "POST", "/v1/pipelines/frnt/pause").json["code"] == "no-such-thing"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoSuchThing("x"), 404),
        (Stale("x"), 412),
        (Busy("another change is being tried", hint="wait"), 409),
        (RequestError("x"), 409),
        (MemoryRefused("x"), 507),
        (MissingPackage("cv2", needed_by="x", extra="ort"), 501),
        (ConfigError("f", [Problem("a", "b", "c")]), 422),
        (EngineError("x"), 422),
        (DeviceError("x"), 422),
        (EdgedError("x"), 500),
    ],
)
def test_each_error_has_its_status(api: Served, error: EdgedError, status: int) -> None:
    assert status_of(error) == status
    api.steering.refuse = error
    answer = ask(api.path, "POST", "/v1/config/reload")
    assert answer.status == status
    assert msgspec.json.decode(answer.body, type=ProblemDocument) == document(error)


def test_a_defect_is_told_as_one(api: Served, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("oh")

    api.steering.snapshot = broken  # type: ignore[method-assign]
    answer = get(api, "/v1/status")
    assert answer.status == 500
    assert "ZeroDivisionError" in answer.json["detail"]
    assert "a defect in edged" in caplog.text


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/pipelines/front", 404),
        ("GET", "/v1/pipelines/../config", 404),
        ("DELETE", "/v1/config", 405),
        ("GET", "/v1/config/reload", 405),
    ],
)
def test_what_is_not_there_is_a_problem_document(api: Served, method: str, target: str, status: int) -> None:
    answer = ask(api.path, method, target)
    assert answer.status == status
    assert answer.json["status"] == status
    assert (status == 405) == ("allow" in answer.headers)


@pytest.mark.parametrize("query", ["since=x", "since=-1", "since=1e99", "follow=maybe"])
def test_a_query_that_is_none(api: Served, query: str) -> None:
    assert get(api, f"/v1/events?{query}").status == 400


def test_a_change_goes_on_without_its_client(api: Served) -> None:
    api.steering.held = Future()
    with connect(api.path) as sock:
        sock.sendall(b"POST /v1/config/reload HTTP/1.1\r\nHost: x\r\n\r\n")
        get(api, "/v1/health/live")
    for _ in range(3):  # the server has seen that the client is gone
        get(api, "/v1/health/live")
    assert not api.steering.held.cancelled()
    api.steering.held.set_result(api.steering.config())


def test_a_change_that_the_daemon_gives_up_is_refused(api: Served) -> None:
    api.steering.held = Future()
    api.steering.held.cancel()
    answer = ask(api.path, "POST", "/v1/config/reload")
    assert (answer.status, answer.json["code"]) == (409, "busy")


def test_a_server_that_fails_says_so_and_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(ControlServer, "_listen", broken)
    api = Served(tmp_path)
    api.server.start()
    assert api.server._serving is not None
    api.server._serving[1].join()
    assert "ZeroDivisionError: oh" in api.server.failed
    assert "the control API has ended" in caplog.text
    api.log.add(event(1))  # its writer is not in that loop's way
    api.server.stop()
