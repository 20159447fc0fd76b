"""What the daemon says of itself, in the order in which the main loop hears of it."""

from __future__ import annotations

from edged.announcer import Announcer
from edged.errors import SourceError
from edged.messages import Event, Identity, Message, State
from edged.units import Report


def test_a_state_holds_what_was_told_so_far() -> None:
    """Pipelines are ahead of the main loop: a state must not tell what its events have not told yet."""
    said: list[Message] = []
    announcer = Announcer(Identity("robot-7", "s"), [said.append], ["front", "rear"], None)
    announcer.report(Report("pipeline front", "running"))
    announcer.report(Report("pipeline rear", "faulted", SourceError("unplugged")))
    announcer.report(Report("pipeline front", "ended"))
    announcer.state("offline")
    states = [(m.body.state, m.body.pipelines) for m in said if isinstance(m.body, State)]
    assert states == [
        ("online", {"front": "running", "rear": "starting"}),
        ("online", {"front": "running", "rear": "faulted"}),
        ("online", {"front": "ended", "rear": "faulted"}),
        ("offline", {"front": "ended", "rear": "faulted"}),
    ]


def test_an_event_says_what_changed_and_why_and_nothing_twice() -> None:
    said: list[Message] = []
    announcer = Announcer(Identity("robot-7", "s"), [said.append], ["front"], None)
    for report in (
        Report("source a", "running"),
        Report("source a", "running"),
        Report("source a", "faulted", SourceError("unplugged")),
        Report("source a", "stopped"),
    ):
        announcer.report(report)
    events = [m.body for m in said if isinstance(m.body, Event)]
    assert [(e.seq, e.unit, e.was, e.state, e.reason) for e in events] == [
        (1, "source a", None, "running", ""),
        (2, "source a", "running", "faulted", "unplugged"),
    ]
