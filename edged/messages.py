"""What subscribers receive: one versioned schema, as JSON or MessagePack (msgspec structs).

The JSON Schemas in edged/schemas are generated from these types (`edged schema messages`); a test keeps
them in step. Boxes, points and sizes are in pixels of the source's frame, or of a
dewarped view of it (`Result.dewarped`); meanings follow ROS vision_msgs but for the box, whose x, y is the top-left
corner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

SCHEMA_VERSION = 1


class Identity(msgspec.Struct, frozen=True):
    """Who speaks: the device's id and this process's session (new at every start)."""

    device: str
    session_id: str


Box = tuple[float, float, float, float]
Point = tuple[float, float]


class Detection(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object. `box` = [x, y, w, h]; x, y is the top-left corner."""

    label: str
    class_id: int
    score: float
    box: Box
    track_id: int | None = None
    keypoints: list[Point] | None = None


class Classification(msgspec.Struct, frozen=True):
    """One class of a classified picture, best first."""

    label: str
    class_id: int
    score: float


class Mask(msgspec.Struct, frozen=True):
    """A class index for every cell of a grid that covers the frame, or the result's `roi` of it.

    `size` = [w, h] of the grid, `data` its cells row by row, uint8, compressed by zlib (base64 in JSON);
    cell [i, j] covers a rectangle of the frame's (or roi's) size divided by `size`. `labels` names the indices.
    """

    size: tuple[int, int]
    data: bytes
    labels: list[str]


class Tensor(msgspec.Struct, frozen=True):
    """An output as the model gave it: numpy dtype name, shape, little-endian bytes (base64 in JSON)."""

    dtype: str
    shape: list[int]
    data: bytes


class ModelId(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which model gave a result: `hash` is the sha256 of the file that ran (plan or ONNX)."""

    name: str
    version: str = ""
    hash: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="result", tag_field="type"):
    """What one frame gave. Exactly one of detections, classes, mask, tensors is set, as the parser says.

    An empty list means "looked and saw nothing". (session_id, pipeline, seq) is unique; seq never resets
    within a session. `age_ms` is from capture to publication, `deadline_ms` the age promised
    (pipelines.NAME.deadline_ms); both on the monotonic clock. `dropped` counts this pipeline's frames that
    gave way to newer ones since the result before. Results with the same session_id, `sync_group` and
    `frame_set` are of pictures that several cameras took at one moment (pipelines.NAME.sync_group).
    All positions are in pixels of a picture of `frame` = [w, h]: the source's or, where `dewarped`, a view that was
    computed from it (pipelines.NAME.dewarp) and lies nowhere in it. `roi` = [x, y, w, h]: the model saw only this
    part of the picture; a mask's grid covers just that.
    """

    schema: Literal[1] = 1
    device: str
    pipeline: str
    source: str
    session_id: str
    seq: int
    frame_seq: int
    sync_group: str | None = None
    frame_set: int | None = None
    captured_at: int
    published_at: int = 0
    captured_mono_ns: int
    clock_synced: bool | None = None
    timestamp_source: str
    age_ms: float = 0.0
    deadline_ms: float | None = None
    valid: bool = True
    invalid_reason: str | None = None
    dropped: int = 0
    rejected: int = 0
    model: ModelId
    frame: tuple[int, int]
    roi: tuple[int, int, int, int] | None = None
    dewarped: bool = False
    detections: list[Detection] | None = None
    classes: list[Classification] | None = None
    mask: Mask | None = None
    tensors: dict[str, Tensor] | None = None


class PipelineState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a pipeline looks: running and degraded do, starting, faulted, paused and stopped do not (health.py)."""

    state: Literal["starting", "running", "degraded", "faulted", "paused", "stopped"]
    reason: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="state", tag_field="type"):
    """A device's birth (`online`), changes of its pipelines, and its Last Will (`offline`); retained on MQTT.

    No result from a pipeline that looks means that nothing was taken yet; from one that does not look, nothing.
    """

    schema: Literal[1] = 1
    device: str
    session_id: str
    state: Literal["online", "offline"]
    at: int
    pipelines: dict[str, PipelineState] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="event", tag_field="type"):
    """A change of state, or a new reason for the same: what (`unit`), from where to where, and why."""

    schema: Literal[1] = 1
    device: str
    session_id: str
    seq: int
    at: int
    unit: str
    state: str
    was: str | None = None
    reason: str = ""


Body = Result | State | Event
MessageClass = Literal["result", "state", "event"]
Encoding = Literal["json", "msgpack"]


class Message(msgspec.Struct, frozen=True):
    """One thing to publish. `key` = (session_id, unit, seq) identifies it for de-duplication."""

    topic: str
    cls: MessageClass
    key: tuple[str, str, int]
    body: Body


def topic(device: str, cls: MessageClass, pipeline: str = "", prefix: str = "edged") -> str:
    """edged/<device>/<pipeline>/result, edged/<device>/state, edged/<device>/event."""
    parts = (prefix, device, pipeline, cls) if cls == "result" else (prefix, device, cls)
    return "/".join(parts)


_ENCODE: dict[str, Callable[[Any], bytes]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}
_DECODE: dict[str, Callable[[bytes], Any]] = {
    "json": msgspec.json.Decoder(Result | State | Event).decode,
    "msgpack": msgspec.msgpack.Decoder(Result | State | Event).decode,
}


def encode(body: Body, encoding: Encoding) -> bytes:
    """The wire form. Thread-safe."""
    return _ENCODE[encoding](body)


def decode(data: bytes, encoding: Encoding | None = None) -> Body:
    """The typed message of a payload; `encoding` None tells JSON ('{') from MessagePack by its first byte.

    Unknown fields are ignored (a newer sender); raises msgspec.MsgspecError on anything else that is off.
    """
    if encoding is None:
        encoding = "json" if data[:1] == b"{" else "msgpack"
    try:
        body: Body = _DECODE[encoding](data)
    except (UnicodeDecodeError, RecursionError) as e:  # what damaged or hostile bytes reach
        raise msgspec.DecodeError(f"not a message: {e}") from e
    return body


Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
