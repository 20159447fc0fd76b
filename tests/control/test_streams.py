"""GET /v1/events: everything in order, gaps told, and nobody held up by a reader who does not read."""

from __future__ import annotations

import json
import select
import socket
from typing import Any

import pytest

from edged.control import streams
from edged.control.answers import End, Gap, Heartbeat
from edged.messages import Event
from tests.control.fake import IDENTITY, Served, event
from tests.control.http import ask, connect


def lines(api: Served, query: str) -> list[dict[str, Any]]:
    answer = ask(api.path, "GET", f"/v1/events?{query}")
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def test_without_following_the_stream_ends_with_the_backlog(api: Served) -> None:
    for seq in range(1, 601):
        api.log.add(event(seq))
    assert [line["seq"] for line in lines(api, "follow=false")] == list(range(1, 601))
    assert [line["seq"] for line in lines(api, "follow=false&since=598")] == [599, 600]
    assert lines(api, "follow=false&since=600") == []


def test_a_gap_is_told(api: Served) -> None:
    for seq in range(1, 5001):
        api.log.add(event(seq))
    first, second, *_ = lines(api, "follow=false&since=100")
    assert first == {"type": "gap", "missed": 5000 - 4096 - 100, "reason": "older than what is kept"}
    assert second["seq"] == 5000 - 4096 + 1


@pytest.mark.parametrize("query", ["since=7", "since=1&session=another"])
def test_numbers_of_another_session_begin_anew(api: Served, query: str) -> None:
    for seq in (1, 2):
        api.log.add(event(seq))
    gap, *events = lines(api, f"follow=false&{query}")
    assert (gap["type"], gap["missed"]) == ("gap", None)
    assert IDENTITY.session_id in gap["reason"]
    assert [e["seq"] for e in events] == [1, 2]


def test_events_come_as_they_happen_and_the_last_line_says_why_it_ends(api: Served) -> None:
    api.log.add(event(1))
    stream = api.client.events()
    first, beat = next(stream), next(stream)
    assert isinstance(first, Event)
    assert isinstance(beat, Heartbeat)
    assert (beat.seq, beat.session_id) == (1, IDENTITY.session_id)
    for seq in range(2, 50):
        api.log.add(event(seq))
        line = next(stream)
        assert isinstance(line, Event)
        assert line.seq == seq
    api.server.stop()
    assert list(stream) == [End(reason="the daemon stops")]


def test_a_heartbeat_comes_where_nothing_happens(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.02)
    stream = api.client.events()
    assert all(isinstance(next(stream), Heartbeat) for _ in range(3))
    stream.close()  # type: ignore[attr-defined]


def test_a_reader_who_does_not_read_is_cut_off_and_holds_up_nobody(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALL_S", 0.2)
    with connect(api.path) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        brisk = api.client.events()
        assert isinstance(next(brisk), Heartbeat)
        for seq in range(1, 8001):  # more than all buffers on the way hold
            api.log.add(event(seq, unit="u" * 200))
            if seq % 200 == 0:
                assert _until(brisk, seq) == seq
        brisk.close()  # type: ignore[attr-defined]
        hung_up = select.poll()
        hung_up.register(lazy, select.POLLHUP)
        assert hung_up.poll(20_000), "who does not read is still connected"


def _until(stream: Any, seq: int) -> int:
    """Reads up to that event; gaps are none of a reader who keeps up."""
    for line in stream:
        assert not isinstance(line, Gap)
        if isinstance(line, Event) and line.seq >= seq:
            return line.seq
    raise AssertionError("the stream ended")
