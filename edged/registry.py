"""Kinds by name: built-in backends as "module:Class", others from entry points; loaded on use.

A backend class has `Options`, a frozen msgspec.Struct of its configuration table (without `kind`), and is
built as documented beside each group. Third parties add one through an entry point of the group
`edged.<group>`: [project.entry-points."edged.parsers"] mine = "my_package:MyParser".
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from edged.errors import EdgedError

BUILT_IN: dict[str, dict[str, str]] = {
    # Class(name: str, options: Options) -> Source
    "sources": {
        "images": "edged.sources.images:ImagesSource",
        "video": "edged.sources.video:VideoSource",
        "pattern": "edged.sources.pattern:PatternSource",
        "v4l2": "edged.sources.v4l2:V4l2Source",
        "rtsp": "edged.sources.rtsp:RtspSource",
    },
    # Class(name: str, options: Options, identity: Identity) -> Sink
    "sinks": {
        "zmq": "edged.sinks.zeromq:ZmqSink",
        "mqtt": "edged.sinks.mqtt:MqttSink",
        "jsonl": "edged.sinks.jsonl:JsonLinesSink",
    },
    # Class(model: Model, options: Options, device: Device | None, stream: Stream | None) -> Engine; None: the CPU.
    # One that has PLANS = True is also given `plans`, the store (models/plans.py), by this name
    "engines": {
        "tensorrt": "edged.engines.tensorrt:TensorRtEngine",
        "tensorrt-rtx": "edged.engines.tensorrt:TensorRtRtxEngine",
        "onnxruntime": "edged.engines.onnxruntime:OnnxRuntimeEngine",
    },
    # Class(model: Model) -> Parser; Options: the parser's own keys of [output]; optional: task, recognize
    "parsers": {
        "classification": "edged.parsers.classification:ClassificationParser",
        "yolox": "edged.parsers.yolox:YoloxParser",
        "yolov5": "edged.parsers.yolo:Yolov5Parser",
        "yolov8": "edged.parsers.yolo:Yolov8Parser",
        "end2end": "edged.parsers.end2end:EndToEndParser",
        "centerface": "edged.parsers.centerface:CenterFaceParser",
        "segmentation": "edged.parsers.segmentation:SegmentationParser",
        "raw": "edged.parsers.raw:RawParser",
    },
}


@cache
def _found(group: str) -> dict[str, str]:
    """Kinds of a group with their "module:Class"; built-in names cannot be replaced."""
    others = {e.name: e.value for e in entry_points(group=f"edged.{group}")}
    return {**others, **BUILT_IN[group]}


def kinds(group: str) -> Iterable[str]:
    return _found(group).keys()


def load(group: str, kind: str) -> Any:
    """The backend class. KeyError for an unknown kind; EdgedError when a third party's cannot be imported."""
    target = _found(group)[kind]
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as e:
        raise EdgedError(
            f"{group[:-1]} '{kind}' ({target}) cannot be loaded: {e}",
            hint="reinstall the package that provides it, or remove it",
        ) from e
