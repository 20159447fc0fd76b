"""A daemon that can be steered and does nothing: what the control server is tested against."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from edged.config.load import from_data
from edged.config.patch import etag
from edged.config.schema import ControlConfig
from edged.control.client import Client
from edged.control.events import EventLog
from edged.control.server import ControlServer
from edged.errors import EdgedError
from edged.looks import Look
from edged.messages import Detection, Event, Identity, ModelId, Result
from edged.metrics import (
    AGES_S,
    ModelUse,
    PipelineCounts,
    Quantiles,
    RegionUse,
    SinkCounts,
    Snapshot,
    SourceUse,
    SyncCounts,
)
from edged.steering import ConfigState, NoSuchThing, RevisionInfo, Stale, Verb
from edged.views import WHOLE
from tests.rig import make_frame, make_slots

IDENTITY = Identity("robot-7", "5e55101")
SECRET = "hunter2"
DATA: dict[str, Any] = {
    "device": {"id": "robot-7"},
    "sources": {"front": {"kind": "rtsp", "url": f"rtsp://admin:{SECRET}@10.0.0.5/stream"}},
    "models": {"faces": {"path": "models/centerface"}},
    "pipelines": {"front": {"source": "front", "model": "faces", "sinks": ["bus"]}},
    "sinks": {"bus": {"kind": "zmq"}},
}
STAGES = ("wait", "preprocess", "engine", "infer", "parse", "age", "host")
RESULT = Result(
    device="robot-7",
    pipeline="front",
    source="front",
    session_id=IDENTITY.session_id,
    seq=3,
    frame_seq=0,
    captured_at=1_795_237_280_414_185_327,
    captured_mono_ns=0,
    timestamp_source="synthetic",
    model=ModelId("faces"),
    frame=(4, 2),
    detections=[Detection("face", 0, 0.9, (0.0, 0.0, 2.0, 1.0))],
)


def counts(state: str = "running", reason: str = "", inferred: int = 100) -> PipelineCounts:
    age = Quantiles(inferred, 20.0, 19.0, 31.0, 35.0, 40.0, 20.0 * inferred)
    return PipelineCounts(
        source="front",
        model="faces",
        state=state,
        reason=reason,
        offered=inferred + 3,
        dropped=2,
        inferred=inferred,
        failed=1,
        lost=4,
        skipped=5,
        rejected=0,
        detections=250,
        fps=29.97,
        copied={"capture": 0, "preprocess": 1000},
        ages=tuple(inferred if b >= 0.05 else inferred // 2 for b in AGES_S),
        stages={stage: age if stage != "preprocess" else Quantiles() for stage in STAGES},
    )


class FakeSteering:
    """steering.Steering. `states`: of each pipeline. What is refused is set by `refuse`."""

    def __init__(self) -> None:
        self.states = {"front": ("running", "")}
        self.inferred = 100
        self.not_ready = self.not_alive = ""
        self.refuse: EdgedError | None = None
        self.looks: list[Look] = []
        self.on_look: Callable[[Look], None] = self.show
        self.verbs: list[tuple[str, str]] = []
        self.held: Future[ConfigState] | None = None  # set: a change does not end by itself
        self.slots = make_slots(2)
        self._states = [self._state(DATA, 1, "file")]
        self._outcomes: dict[int, str] = {}  # of revisions that were undone

    def _state(
        self, data: Mapping[str, Any], revision: int, by: str, state: Any = "confirmed"
    ) -> ConfigState:
        return ConfigState(
            revision=revision,
            etag=etag(data),
            state=state,
            by=by,
            at=time.time_ns(),
            touched=("front",) if revision > 1 else (),
            file="/etc/edged/edged.toml",
            base="/etc/edged",
            data=copy.deepcopy(dict(data)),
        )

    def snapshot(self) -> Snapshot:
        return Snapshot(
            at=time.time_ns(),
            wall_s=12.5,
            pipelines={n: counts(*s, self.inferred) for n, s in self.states.items()},
            sources={"front": SourceUse(state="running", frame="4x2 BGR", faults=1)},
            sinks={"bus": SinkCounts(state="running", offered=9, published=7, replaced=1, failed=0, held=1)},
            regions={"source front": RegionUse(4096, 2048, 2, 1)},
            models={"faces": ModelUse(state="running", facts={"engine": "onnxruntime"})},
            sync_groups={"rig": SyncCounts(taken=9, complete=7, partial=1, unseen=1, open=0)},
        )

    def ready(self) -> str:
        return self.not_ready

    def alive(self) -> str:
        return self.not_alive

    def pipeline(self, name: str, verb: Verb) -> Future[str]:
        self._check()
        if name not in self.states:
            raise NoSuchThing(f"there is no pipeline '{name}'", hint=f"there is: {', '.join(self.states)}")
        self.verbs.append((name, verb))
        self.states[name] = ("paused", "by uid 0") if verb == "pause" else ("running", "")
        return done(self.states[name][0])

    def look(self, name: str) -> Look:
        if name not in self.states:
            raise NoSuchThing(f"there is no pipeline '{name}'", hint=f"there is: {', '.join(self.states)}")
        look = Look(WHOLE)
        self.looks.append(look)
        self.on_look(look)
        return look

    def show(self, look: Look) -> None:
        """As a runner does."""
        frame = make_frame(self.slots, 100)
        look.see(frame)
        frame.release()
        look.tell(msgspec.structs.replace(RESULT, frame_seq=100, captured_at=frame.captured_at_ns))

    def config(self) -> ConfigState:
        return next(s for s in reversed(self._states) if s.revision not in self._outcomes)

    def history(self) -> tuple[RevisionInfo, ...]:
        return tuple(
            RevisionInfo(
                revision=s.revision, at=s.at, by=s.by, outcome=self._outcomes.get(s.revision, s.state)
            )
            for s in reversed(self._states)
        )

    def apply(self, data: Mapping[str, Any], *, base: str | None, by: str) -> Future[ConfigState]:
        self._check()
        if base is not None and base != self.config().etag:
            raise Stale("the configuration has changed", hint="read it again")
        from_data(data, file="the request", base=Path("/etc/edged"))
        return self._change(data, by)

    def revert(self, revision: int | None, *, by: str) -> Future[ConfigState]:
        self._check()
        wanted = max(1, len(self._states) - 1) if revision is None else revision
        if not 1 <= wanted <= len(self._states):
            raise NoSuchThing(f"there is no revision {wanted}", hint="edged config history")
        return self._change(self._states[wanted - 1].data, f"revert to {wanted} by {by}")

    def reload(self, *, by: str) -> Future[ConfigState]:
        self._check()
        return self._change(DATA, by)

    def confirm(self) -> None:
        self._states[-1] = msgspec.structs.replace(self._states[-1], state="confirmed")

    def undo(self) -> None:
        self._outcomes[self.config().revision] = "undone: pipeline front: faulted"

    def _check(self) -> None:
        if self.refuse is not None:
            raise self.refuse

    def _change(self, data: Mapping[str, Any], by: str) -> Future[ConfigState]:
        if self.held is not None:
            return self.held
        self._states.append(self._state(data, len(self._states) + 1, by, "trial"))
        return done(self._states[-1])


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def event(seq: int, unit: str = "pipeline front", state: str = "running") -> Event:
    return Event(
        device=IDENTITY.device,
        session_id=IDENTITY.session_id,
        seq=seq,
        at=time.time_ns(),
        unit=unit,
        state=state,
    )


class Served:
    """A control server over a fake daemon, on a socket of its own."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.path = folder / "control.sock"
        self.steering, self.log = FakeSteering(), EventLog()
        group, port = options.pop("group", "no-such-group"), options.pop("health_port", None)
        control = ControlConfig(socket=str(self.path), group=group, health_port=port)
        self.server = ControlServer(self.steering, self.log, control, IDENTITY, **options)
        self.client = Client(self.path)


@contextmanager
def served(folder: Path, **options: Any) -> Iterator[Served]:
    made = Served(folder, **options)
    with made.server:
        yield made
