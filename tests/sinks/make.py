"""Messages to send, and a free port to send them to."""

from __future__ import annotations

import socket
import time

from edged import messages
from edged.messages import Detection, Event, Identity, Message, ModelId, PipelineState, Result, State

IDENTITY = Identity("robot-7", "session-1")


def result(seq: int = 0, pipeline: str = "front", **fields: object) -> Message:
    body = Result(
        device=IDENTITY.device,
        pipeline=pipeline,
        source="cam",
        session_id=IDENTITY.session_id,
        seq=seq,
        frame_seq=seq,
        captured_at=time.time_ns(),
        captured_mono_ns=time.monotonic_ns(),
        timestamp_source="read",
        model=ModelId("faces", "1", "ab" * 32),
        frame=(640, 480),
        **{"detections": [Detection("face", 0, 0.75, (1.0, 2.0, 30.0, 40.5))], **fields},  # type: ignore[arg-type]
    )
    return _message(body, pipeline, seq)


def state(value: str = "online") -> Message:
    body = State(
        device=IDENTITY.device,
        session_id=IDENTITY.session_id,
        state=value,  # type: ignore[arg-type]
        at=time.time_ns(),
        pipelines={"front": PipelineState("running")},
    )
    return _message(body, "device", 0)


def event(seq: int = 0) -> Message:
    body = Event(
        device=IDENTITY.device,
        session_id=IDENTITY.session_id,
        seq=seq,
        at=time.time_ns(),
        unit="source.cam",
        state="running",
        was="faulted",
    )
    return _message(body, "event", seq)


def _message(body: Result | State | Event, unit: str, seq: int) -> Message:
    cls: messages.MessageClass = (
        "result" if isinstance(body, Result) else "state" if isinstance(body, State) else "event"
    )
    pipeline = body.pipeline if isinstance(body, Result) else ""
    return Message(
        messages.topic(IDENTITY.device, cls, pipeline), cls, (IDENTITY.session_id, unit, seq), body
    )


def free_port() -> int:
    """A TCP port on the loopback that nobody uses at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port
