"""What the daemon says of itself, in the order in which the main loop hears of it."""

from __future__ import annotations

from edged.announcer import Announcer
from edged.health import Health
from edged.messages import Event, Identity, Message, PipelineState, State, encode

WHO = Identity("robot-7", "s")


def test_an_event_says_from_where_to_where_and_why() -> None:
    said: list[Message] = []
    heard: list[Event] = []
    announcer = Announcer(WHO, [said.append], heard.append)
    announcer.event("source a", "running", "")
    announcer.event("pipeline front", "running", "")
    announcer.event("source a", "faulted", "unplugged")
    events = [m.body for m in said if isinstance(m.body, Event)]
    assert events == heard
    assert [(e.seq, e.unit, e.was, e.state, e.reason) for e in events] == [
        (1, "source a", None, "running", ""),
        (2, "pipeline front", None, "running", ""),
        (3, "source a", "running", "faulted", "unplugged"),
    ]
    assert {m.topic for m in said} == {"edged/robot-7/event"}


def test_a_state_tells_saw_nothing_from_not_looking() -> None:
    said: list[Message] = []
    announcer = Announcer(WHO, [said.append], None)
    announcer.state("online", {"front": Health("running", ""), "rear": Health("faulted", "unplugged")})
    (message,) = said
    assert message.topic == "edged/robot-7/state"
    assert isinstance(message.body, State)
    assert message.body.pipelines == {
        "front": PipelineState("running"),
        "rear": PipelineState("faulted", "unplugged"),
    }


def test_a_reason_is_text_that_every_encoder_takes() -> None:
    said: list[Message] = []
    Announcer(WHO, [said.append], None).event("source a", "faulted", "cannot read b\udcff.png")
    assert b"cannot read b\\\\udcff.png" in encode(said[0].body, "json")
