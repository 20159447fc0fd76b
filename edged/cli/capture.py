"""Save pictures of a camera, file or folder: for calibration and bug reports.

SOURCE is a pipeline or source of the configuration given by --config, or a device, file or folder directly. Pictures
are lossless PNG (or --jpeg), named by the time they were taken; nothing is ever overwritten. capture.ndjson beside
them has a line for each run and each picture. The first Ctrl-C ends it in order, with exit status 130; a second
one at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged import __version__
from edged.cli._capture_folder import Folder
from edged.cli._capture_source import busy_told, find
from edged.cli.live import StatusLine
from edged.cli.run import positive, positive_int
from edged.config.schema import Backend
from edged.config.words import hide_credentials
from edged.devices.cpu_picture import Picture
from edged.errors import ConfigError, ExitCode, Problem, SourceError
from edged.frames import Frame, FrameSpec
from edged.interfaces import EndOfStream, Source
from edged.memory import Region, Slots
from edged.process import ask_on_signals
from edged.rates import Rate

HELP = "save pictures of a camera, file or folder"

POLL_S = 0.2  # how late Ctrl-C is noticed
SLOTS = 2  # one is being written to disk, one is being filled
INTERRUPTED = 130
DEFAULT_EVERY_S = 1.0

Json = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="a pipeline or source of FILE; a device, file or folder"
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to; made if absent")
    parser.add_argument("--config", metavar="FILE", help="the configuration (TOML) that SOURCE is in")
    parser.add_argument("--frames", type=positive_int, default=1, metavar="N", help="pictures (default: 1)")
    parser.add_argument(
        "--every", type=positive, metavar="S", help="seconds between pictures of a live source (default: 1)"
    )
    parser.add_argument("--jpeg", action="store_true", help="JPEG of quality 95 instead of PNG")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


@dataclass(slots=True)
class Outcome:
    """What came of it. `ended`: "done", "end of input" or "interrupted"."""

    pictures: list[Json] = field(default_factory=list)
    ended: str = "done"


class Asked(threading.Event):
    """Set by a signal. A source that may wait long for its camera in `open` gives up then."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._interrupt: Callable[[], None] = getattr(source, "interrupt", lambda: None)

    def set(self) -> None:
        super().set()
        self._interrupt()


def run(args: argparse.Namespace) -> int:
    name, entry, source = find(args.source, args.config)
    status = StatusLine(sys.stderr, live=sys.stderr.isatty() and not args.json)
    outcome, asked = Outcome(), Asked(source)
    try:
        with status.above(), ask_on_signals(asked), busy_told(entry):
            _capture(args, name, entry, source, asked, status, outcome)
    finally:
        status.clear()
        _tell(args, outcome)
    return INTERRUPTED if outcome.ended == "interrupted" else int(ExitCode.OK)


def _tell(args: argparse.Namespace, o: Outcome) -> None:
    """Also of what was saved before a fault, which is told after it."""
    if args.json:
        result = {"folder": str(args.folder), "ended": o.ended, "pictures": o.pictures}
        print(json.dumps(result, default=str), flush=True)
    elif o.pictures:
        why = "" if o.ended == "done" else f": {o.ended}"
        count = f"{len(o.pictures)} of {args.frames} pictures"
        print(
            f"{count} in {args.folder}, {o.pictures[0]['file']} to {o.pictures[-1]['file']}{why}", flush=True
        )
    elif o.ended != "done":
        print(f"no picture{': ' + o.ended}", flush=True)


def _capture(
    args: argparse.Namespace,
    name: str,
    entry: Backend,
    source: Source,
    asked: threading.Event,
    status: StatusLine,
    outcome: Outcome,
) -> None:
    """Fill `outcome`; raises what the source or the folder fails with."""
    rate = _rate(args, source)
    with ExitStack() as stack:
        stack.callback(source.close)
        status.write(f"opening {hide_credentials(args.source)}")
        try:
            spec = source.open()
        except SourceError:
            if not asked.is_set():  # else nobody waits for this camera any more
                raise
            outcome.ended = "interrupted"
            return
        picture = Picture(spec)
        folder = Folder(args.folder, ".jpg" if args.jpeg else ".png")
        count = SLOTS + getattr(source, "extra_slots", 0)
        region = Region("capture", Slots.wants(count, spec.nbytes))
        stack.callback(region.close)
        slots = Slots.of(region, count)
        stack.callback(source.close)  # before its memory goes
        source.start(slots)
        folder.note(_header(name, entry, source, spec))
        while len(outcome.pictures) < args.frames:
            if asked.is_set():
                outcome.ended = "interrupted"
                return
            try:
                frame = source.read(POLL_S)
            except EndOfStream:
                outcome.ended = "end of input"
                return
            if frame is None:
                continue
            try:
                if rate.wants(frame.seq, frame.captured_mono_ns):
                    rate.took(frame.seq, frame.captured_mono_ns)
                    outcome.pictures.append(_save(folder, picture, frame, len(outcome.pictures)))
                    done = f"{len(outcome.pictures)} of {args.frames}: {outcome.pictures[-1]['file']}"
                    status.write(done)
            finally:
                frame.release()


def _rate(args: argparse.Namespace, source: Source) -> Rate:
    if source.live:
        return Rate(max_fps=1 / (args.every or DEFAULT_EVERY_S))
    if args.every is not None:
        message = f"'{args.source}' is not live: its pictures are saved one after the other"
        hint = "leave --every out; a video of a [sources.X] with pace = 'realtime' is live"
        raise ConfigError("--every", [Problem("", message, hint)])
    return Rate()


def _save(folder: Folder, picture: Picture, frame: Frame, index: int) -> Json:
    data = picture.encode(frame, folder.suffix)
    file = folder.save(data, frame.captured_at_ns, frame.seq)
    record = {
        "type": "picture",
        "file": file,
        "index": index,
        "seq": frame.seq,
        "captured_at": frame.captured_at_ns,
        "captured_mono_ns": frame.captured_mono_ns,
        "timestamp_source": frame.timestamp_source,
        "bytes": len(data),
        **({"tags": frame.tags} if frame.tags else {}),
    }
    folder.note(record)
    return record


def _header(name: str, entry: Backend, source: Source, spec: FrameSpec) -> Json:
    """What the pictures were made from, before they became BGR."""
    return {
        "type": "capture",
        "edged": __version__,
        "source": name,
        "kind": entry.kind,
        "live": source.live,
        "size": [spec.width, spec.height],
        "format": spec.format.value,
        "matrix": spec.matrix,
        "full_range": spec.full_range,
        "facts": dict(getattr(source, "facts", {})),
        **{k: v for k in ("device", "path") if (v := getattr(entry.options, k, None)) is not None},
    }
