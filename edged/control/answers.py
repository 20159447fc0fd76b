"""What the control API answers with, besides steering's own types: the OpenAPI document is made from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from edged.messages import Event, PipelineState
from edged.metrics import Snapshot
from edged.steering import RevisionInfo

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs, and what is observed. `ready` and `alive`: why not, "" when it is. uptime_s: of this session."""

    device: str
    session_id: str
    version: str
    pid: int
    uptime_s: float
    ready: str
    alive: str
    snapshot: Snapshot


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it is live or ready; `reason`: why not. pipelines: of readiness, how each one is."""

    ok: bool
    reason: str = ""
    pipelines: Mapping[str, PipelineState] = {}


class History(msgspec.Struct, frozen=True):
    """Newest first."""

    revisions: tuple[RevisionInfo, ...]


class Revert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which revision to go back to; None: the one confirmed before the current."""

    revision: int | None = None


class PipelineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a pipeline is once it was paused, resumed or restarted, in words."""

    pipeline: str
    health: str


class ProblemPart(msgspec.Struct, frozen=True):
    """One of several problems: `path` is the key path in the configuration."""

    path: str
    message: str
    hint: str = ""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An error, as RFC 9457 has it. code: of its kind, for programs. hint: what to do. problems: all, of many."""

    type: Literal["about:blank"] = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    problems: tuple[ProblemPart, ...] = ()


class Gap(msgspec.Struct, frozen=True, kw_only=True, tag="gap", tag_field="type"):
    """Events that the stream does not have; `missed`: how many, None: nobody knows."""

    missed: int | None
    reason: str


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat", tag_field="type"):
    """The stream is alive. seq: of the newest event. at: ns UTC."""

    session_id: str
    seq: int
    at: int


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="type"):
    """The last line of a stream that ends because the daemon says so."""

    reason: str


EventLine = Event | Gap | Heartbeat | End
