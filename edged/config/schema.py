"""The configuration as frozen values. Reading and checking is in load.py; nothing here does I/O.

Paths in a loaded Config are absolute. Sizes are (width, height) in pixels. Docstrings and the `description`
of a field are what editors show (json_schema.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Offset = Annotated[int, Meta(ge=0)]  # in pixels
PositiveFloat = Annotated[float, Meta(gt=0)]
Rate = Annotated[float, Meta(ge=1e-6, le=1e6)]  # a second
Seconds = Annotated[
    float, Meta(gt=0, le=3600)
]  # that somebody waits: the system's calls take no more than fits
QueueLength = Annotated[int, Meta(ge=1, le=1_000_000)]  # of messages
Unit = Annotated[float, Meta(ge=0, le=1)]
Size = tuple[Positive, Positive]
Side = Annotated[int, Meta(ge=1, le=65_535)]  # of a view, which no source's size bounds
Rectangle = tuple[Offset, Offset, Positive, Positive]  # x, y, width, height
Angle = Annotated[float, Meta(ge=-360, le=360)]  # degrees
# an amount of memory: text with a unit or a number in the file, bytes once loaded (see walk.py)
Bytes = Annotated[int, Meta(ge=1, extra={"quantity": "bytes"}, extra_json_schema={"x-quantity": "bytes"})]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration table and of every backend's Options."""


class DeviceConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[device]: who speaks. `id` is part of every topic; default: the host's name."""

    id: str = ""


class RuntimeConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[runtime]. `memory_budget` is in bytes after loading ("1 GiB" in the file); None: what the machine has free.

    device: "auto" takes an NVIDIA GPU where there is one with all that it needs, else the CPU, and says why.
    gpu_ranges: name the stages of each frame for NVIDIA's profilers (NVTX).
    state_dir: where edged keeps what it makes on the device (TensorRT plans, revisions of the configuration); "" is
        $STATE_DIRECTORY, else /var/lib/edged.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpu_ranges: bool = False
    memory_budget: Bytes | None = None
    state_dir: str = ""


class ControlConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[control]: the API that a running daemon is steered by, on a Unix socket.

    socket: its path; "" is control.sock in $RUNTIME_DIRECTORY (systemd sets it), else none. A socket that systemd
        hands over (edged.socket) goes before it.
    group: members may change things, besides root and the user that edged runs as.
    health_port: also serve health and metrics, and nothing else, on this TCP port of the loopback interface.
    confirm_s: a changed configuration whose pipelines are not healthy after so long is undone.
    """

    socket: str = ""
    group: str = "edged"
    health_port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    confirm_s: Annotated[float, Meta(ge=1, le=600)] = 30.0


Cause = Literal["heat", "power", "deadlines"]


class PressureConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pressure]: when live pipelines skip frames so that the machine stays within its limits (pressure.py).

    causes: what is looked at; [] for nothing. Heat: thermal zones near their passive trip points. Power: `watts`, and a
        Jetson's over-current alarms. Deadlines: results older than their pipeline's deadline_ms.
    heat_margin: how many degrees below a zone's passive trip point its limit is.
    celsius: limits of zones by name, in place of those.
    watts: limits of power rails by name; without it none has one.
    hysteresis: how many degrees a zone must fall below its limit before frames come back.
    late_share: of a pipeline's results; more than this are late: too many.
    max_every: at most so far: each n-th frame remains.
    hold_s: from one step to the next; also the time in which late results are counted.
    calm_s: so long nothing may be near its limit before a step is undone; at least hold_s.
    """

    causes: tuple[Cause, ...] = ("heat", "power", "deadlines")
    heat_margin: Annotated[float, Meta(ge=0, le=50)] = 4.0
    celsius: Mapping[str, Annotated[float, Meta(gt=0, le=200)]] = {}
    watts: Mapping[str, PositiveFloat] = {}
    hysteresis: Annotated[float, Meta(ge=0, le=50)] = 5.0
    late_share: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    max_every: Annotated[int, Meta(ge=2, le=100)] = 4
    hold_s: Seconds = 10.0
    calm_s: Seconds = 30.0


class BatchConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models.X.batch]: frames of several pipelines in one inference."""

    max_size: Positive = 1  # only 1 for now: check.py
    max_wait_ms: Annotated[float, Meta(ge=0)] = 0.0


class ModelConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models.X]: a model directory and the engine that runs it.

    engine: "auto" runs a TensorRT plan where the device is a GPU and the store has one that fits, else ONNX Runtime.
    fallback: run this engine where the other cannot; the state is `degraded` then. Only if said.
    options: those of the engine (for example engines/onnxruntime.py Options). With "auto" they are ONNX Runtime's; a
        plan that is chosen then runs with TensorRT's defaults.
    """

    path: str
    engine: str = "auto"
    fallback: Literal["onnxruntime"] | None = None
    gpu: Annotated[int, Meta(ge=0, le=63)] = 0  # which one, as nvidia-smi counts them
    instances: Annotated[int, Meta(ge=1, le=16)] = 1
    priority: int = 0
    in_flight: Annotated[int, Meta(ge=1, le=2)] | None = None  # None: 1 with a live source, else 2
    batch: BatchConfig = BatchConfig()
    options: Any = None


class DeliverConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sinks.X.deliver]: "latest" keeps the newest result a pipeline; "queue" a bounded FIFO of all."""

    result: Literal["latest", "queue"] = "latest"
    queue_size: QueueLength = 1024


class Backend(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source or sink: its kind and that kind's Options (already checked). `deliver` is for sinks."""

    kind: str
    options: Any
    deliver: DeliverConfig = DeliverConfig()


class TrackOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipelines.X.track]: ids that follow objects from frame to frame; on when the table is there.

    high_score: boxes from this score on begin tracks. low_score: weaker ones down to this only continue a track;
        the model's own threshold must let them through.
    min_iou: least overlap of a box with where its track should be by now; low_min_iou: the same for a weak box.
    confirm: frames in which an object was seen before it has an id.
    lost_s: a track unseen for so long is forgotten; more than the time between two frames.
    max_tracks: at most so many at once; further objects get no id.
    """

    high_score: Unit = 0.6
    low_score: Unit = 0.1
    min_iou: Unit = 0.1
    low_min_iou: Unit = 0.4
    confirm: Annotated[int, Meta(ge=1, le=100)] = 2
    lost_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    max_tracks: Annotated[int, Meta(ge=1, le=1024)] = 128


Check = Literal["frozen", "black", "late", "torn"]


class HealthOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipelines.X.health]: when a live picture is not to be believed; its results say valid = false and why.

    checks: which are made; [] for none. Folders of pictures and patterns may repeat themselves and are not checked.
    frozen_s: the same picture for so long, bit by bit. A network camera may repeat a still one: give it more.
    black_mean, black_spread: darker and more even than both, from 0 to 255.
    late_s: a picture older than this when it arrives, or so long after the one before (or three times as long as
        usual, if that is more).
    """

    checks: tuple[Check, ...] = ("frozen", "black", "late", "torn")
    frozen_s: PositiveFloat = 0.6
    black_mean: Annotated[float, Meta(ge=0, le=255)] = 10.0
    black_spread: Annotated[float, Meta(ge=0, le=255)] = 3.0
    late_s: PositiveFloat = 0.5


class SyncConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sync_groups.X]: cameras whose pictures belong together; pipelines name it in sync_group.

    tolerance_ms: pictures taken so close to the first of a set are in it. Below half the time between two pictures
        (15 fits 30 a second); cameras on one trigger need 1 or 2.
    """

    tolerance_ms: Annotated[float, Meta(gt=0, le=10_000)] = 15.0


class DewarpOptions(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipelines.X.dewarp]: a view into a fisheye or 360-degree source, as of a camera without distortion (views.py).

    Results are in the view's pixels. A fisheye's calibration is for one size of the source's pictures: give the
    source that size.
    size: [width, height] of the view. fov: how many degrees of the surroundings its width shows.
    yaw, pitch, roll: where it looks: degrees to the right, up and clockwise from the lens's axis, or from the middle
        of a 360-degree picture.
    focal, center: [x, y] of a fisheye in pixels, and k: its four coefficients, as cv2.fisheye.calibrate finds them;
        center's default is the picture's.
    lens_fov: rays more than half of this from a fisheye's axis are not seen.
    """

    lens: Literal["fisheye", "equirectangular"]
    size: tuple[Side, Side]
    fov: Annotated[float, Meta(gt=0, lt=180)] = 90.0
    yaw: Angle = 0.0
    pitch: Angle = 0.0
    roll: Angle = 0.0
    focal: tuple[PositiveFloat, PositiveFloat] | None = None
    center: tuple[float, float] | None = None
    k: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    lens_fov: Annotated[float, Meta(gt=0, le=360)] = 180.0


class PipelineConfig(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[pipelines.X]: one source through one model to its sinks; names refer to the other tables.

    every: only each n-th frame of the source. max_fps: at most so many frames a second, of a live source. Frames left
        out so are counted as skipped, not as dropped.
    sync_group: results for pictures that the group's cameras took at one moment have the same frame_set.
    roi: [x, y, width, height] in the source's pixels: all that the model sees; results stay in pixels of the whole
        picture. Not with dewarp.
    min_size: smallest box to keep, in pixels of the results.
    priority: under [pressure] pipelines of lower priority skip frames first; a sync group counts as its highest.
    """

    source: str
    model: str
    sinks: tuple[str, ...] = ()
    every: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    max_fps: Annotated[float, Meta(ge=0.001, le=10_000)] | None = None
    sync_group: str | None = None
    roi: Rectangle | None = None
    dewarp: DewarpOptions | None = None
    classes: tuple[str, ...] = ()  # labels to keep; empty: all
    min_score: Unit | None = None
    min_size: Size | None = None
    deadline_ms: PositiveFloat | None = None
    priority: int = 0
    track: TrackOptions | None = None
    health: HealthOptions = HealthOptions()


class Config(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole, checked configuration. `file` is where it came from ("" when made in memory).

    `warnings` are what is legal but surely not meant (a table that nothing uses). `origin` has the key path of
    each source that has no [sources.X] of its own.
    """

    schema: Literal[1] = 1
    file: str = ""
    device: DeviceConfig = DeviceConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    control: ControlConfig = ControlConfig()
    pressure: PressureConfig = PressureConfig()
    models: Mapping[str, ModelConfig] = {}
    sources: Mapping[str, Backend] = {}
    sinks: Mapping[str, Backend] = {}
    pipelines: Mapping[str, PipelineConfig] = {}
    sync_groups: Mapping[str, SyncConfig] = {}
    warnings: tuple[str, ...] = ()
    origin: Mapping[str, str] = {}
