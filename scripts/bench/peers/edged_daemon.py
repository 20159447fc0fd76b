"""edged itself at the same work: `edged run` with the clip at pace max, publishing to ZeroMQ and to a file.

A subscriber takes every ZeroMQ message, as a client would; detections are counted from the JSON lines.
The clock runs from the first frame's capture to the last result's publication, both stamped by edged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import work
import zmq

from edged.config.schema import ModelConfig

MODEL_TOML = """\
name = "yolox-nano"
task = "detect"
file = "model.onnx"
sha256 = "{sha256}"
[input]
tensor = "images"
size = [416, 416]
color = "BGR"
resize = "letterbox-topleft"
pad = 114
[output]
parser = "yolox"
score_threshold = {score}
iou_threshold = {iou}
"""

CONFIG = """\
[device]
id = "bench"
[models.yolox]
path = "model"
engine = "onnxruntime"
{settings}
[sources.clip]
kind = "video"
path = {clip}
pace = "max"
[sinks.bus]
kind = "zmq"
bind = {endpoint}
deliver = {{ result = "queue" }}
[sinks.lines]
kind = "jsonl"
path = "results.jsonl"
[pipelines.clip]
source = "clip"
model = "yolox"
sinks = ["bus", "lines"]
"""


def settings(text: str) -> str:
    """Lines of [models.yolox] from "threads=1,instances=2"; what is not the table's own is the engine's."""
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair]
    own = ModelConfig.__struct_fields__
    return "\n".join(f"{key if key in own else f'options.{key}'} = {value}" for key, value in pairs)


def write_files(folder: Path, args: argparse.Namespace, endpoint: str) -> Path:
    """A model directory and a configuration in `folder`; the configuration's path."""
    onnx = Path(args.model)
    (folder / "model").mkdir()
    shutil.copyfile(onnx, folder / "model" / "model.onnx")
    sha256 = hashlib.sha256(onnx.read_bytes()).hexdigest()
    (folder / "model" / "model.toml").write_text(
        MODEL_TOML.format(sha256=sha256, score=args.score, iou=args.iou)
    )
    config = folder / "edged.toml"
    config.write_text(
        CONFIG.format(
            settings=settings(args.settings),
            clip=json.dumps(str(Path(args.clip).resolve())),
            endpoint=json.dumps(endpoint),
        )
    )
    return config


def run(folder: Path, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """The daemon's own summary, and how many messages the subscriber got. Raises SystemExit when it fails."""
    endpoint = f"ipc://{folder}/bus"
    config = write_files(folder, args, endpoint)
    command = [str(Path(sys.executable).with_name("edged")), "run", str(config), "--json"]
    with (
        zmq.Context() as context,
        context.socket(zmq.SUB) as sub,
        (folder / "stdout").open("wb") as out,
        (folder / "stderr").open("wb") as err,
    ):
        sub.linger, sub.rcvhwm, sub.reconnect_ivl = 0, 10_000, 10
        sub.subscribe(b"")
        sub.connect(endpoint)
        process = subprocess.Popen([*command, "--frames", str(args.frames)], stdout=out, stderr=err)
        received = 0
        while sub.poll(100) or process.poll() is None:
            while sub.poll(0):
                sub.recv_multipart()
                received += 1
    if process.returncode:
        sys.stderr.write((folder / "stderr").read_text()[-2000:])
        raise SystemExit(process.returncode)
    return json.loads((folder / "stdout").read_text().splitlines()[-1]), received


def count(lines: Path) -> work.Tally:
    tally, first, last = work.Tally(), float("inf"), 0.0
    for line in lines.read_text().splitlines():
        message = json.loads(line)
        if message["type"] != "result":
            continue
        tally.result(np.array([d["class_id"] for d in message["detections"]], np.int64))
        published = message["published_at"] / 1e9
        first = min(first, published - message["age_ms"] / 1e3)
        last = max(last, published)
    tally.started, tally.ended = first, last
    return tally


def main() -> None:
    parser = work.parser(__doc__ or "")
    parser.add_argument("--settings", default="", help="keys of [models.yolox]: threads=1,instances=2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edged-peers-") as name:
        summary, received = run(Path(name), args)
        tally = count(Path(name) / "results.jsonl")
    work.report(
        tally,
        {"summary": summary, "received": received},
        edged=version("edged"),
        onnxruntime=version("onnxruntime"),
        opencv=cv2.__version__,
    )


if __name__ == "__main__":
    main()
