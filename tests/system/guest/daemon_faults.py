"""Fault rounds on the whole daemon: three cameras through ONNX Runtime to a sink, and the daemon brings them back."""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edged.assembly import REGISTERED
from edged.config.load import loads
from edged.config.schema import Backend
from edged.daemon import Daemon
from edged.errors import ExitCode, SourceError
from edged.frames import Frame, FrameSpec
from edged.interfaces import Sink, Source
from edged.memory import Slots
from edged.messages import Identity, Message, Result
from edged.sinks.fake import FakeSink
from edged.sources._v4l2_copies import DRIVER_BUFFERS
from edged.sources.v4l2 import V4l2Source
from tests import onnx_models
from tests.system.guest import vivid
from tests.system.guest.held import Held, held
from tests.system.guest.numbers import Numbers
from tests.system.guest.report import write
from tests.system.guest.rounds import Watch
from tests.system.guest.session import play_all
from tests.system.guest.stalls import Stalls

CAMERAS = {"userptr": "userptr", "mmap": "mmap", "bystander": "userptr"}
RATES = {
    "userptr": 15,
    "mmap": 15,
    "bystander": 5,
}
HEAD = """
[models.tiny]
path = "tiny"
[sinks.here]
kind = "jsonl"
deliver = {result = "queue"}
"""
CAMERA = """
[pipelines.{name}]
source = "{name}"
model = "tiny"
sinks = ["here"]
[sources.{name}]
kind = "v4l2"
device = "{device}"
size = [320, 180]
max_size = [320, 180]
rate = {rate}
format = "YUYV"
memory = "{memory}"
controls = {{timestamp_source = "Start of Exposure"}}
"""


class Tapped(V4l2Source):
    """The real source; notes its faults and what the driver numbered."""

    def __init__(self, name: str, entry: Backend, watch: Watch, stalls: Stalls) -> None:
        super().__init__(name, entry.options)
        self.watch, self.numbers = watch, Numbers(DRIVER_BUFFERS, stalls.stood)
        self.frames = 0
        watch.source = self

    def _noted(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except SourceError as e:
            self.watch.fault(e.message)
            raise

    def open(self) -> FrameSpec:
        spec: FrameSpec = self._noted(super().open)
        return spec

    def start(self, slots: Slots) -> None:
        self._noted(super().start, slots)

    def read(self, timeout_s: float) -> Frame | None:
        frame: Frame | None = self._noted(super().read, timeout_s)
        if frame is not None:
            self.frames += 1
            self.watch.missing += self.numbers.step(frame, self.lost)
            if "torn" in frame.tags:  # here, as a picture may give way to a newer one and have no result
                self.watch.bad()
        return frame


class Taps(FakeSink):
    """Gives each result to its camera's watch, and counts."""

    def __init__(self, watches: dict[str, Watch]) -> None:
        super().__init__("here")
        self._watches = watches
        self.results = dict.fromkeys(watches, 0)

    def publish(self, m: Message) -> None:
        if isinstance(m.body, Result):
            r = m.body
            self.results[r.pipeline] += 1
            self._watches[r.pipeline].picture(r.valid, r.captured_mono_ns)


def configuration() -> str:
    parts = [HEAD]
    for n, (name, memory) in enumerate(CAMERAS.items()):
        parts.append(CAMERA.format(name=name, device=f"/dev/video{n}", memory=memory, rate=RATES[name]))
    return "".join(parts)


def main() -> int:
    stalls = Stalls()
    logging.basicConfig(level=logging.ERROR)
    vivid.load(*(vivid.Kind() for _ in CAMERAS))
    folder = Path(tempfile.mkdtemp())
    (folder / "tiny").mkdir()
    onnx_models.model_toml(folder / "tiny", onnx_models.relu(folder / "tiny" / "m.onnx"), size=(6, 4))
    watches = {name: Watch(f"/dev/video{n}", name) for n, name in enumerate(CAMERAS)}
    sink, sources = Taps(watches), dict[str, Tapped]()

    def make_source(name: str, entry: Backend) -> Source:
        sources[name] = Tapped(name, entry, watches[name], stalls)
        return sources[name]

    def make_sink(name: str, entry: Backend, identity: Identity) -> Sink:
        return sink

    makers = replace(REGISTERED, source=make_source, sink=make_sink)
    daemon = Daemon(loads(configuration(), base=folder), makers=makers)

    def everything() -> Held:
        return {**held(), "bytes admitted": daemon.budget.held}

    def others_lost() -> list[str]:
        """Pictures that were not captured, and faults. That one gives way to a newer one is the test's to judge."""
        lost = sources["bystander"].numbers.lost
        return [f"{lost} lost"] * bool(lost) + [text for _, text in watches["bystander"].faults]

    def conduct() -> None:
        try:
            result.update(play_all(watches, everything, others_lost, lambda m: sources[m].numbers.defects))
        except BaseException as e:
            failure.append(e)
            raise
        finally:
            daemon.stop()

    result: dict[str, Any] = {}
    failure: list[BaseException] = []
    conductor = threading.Thread(target=conduct, name="conductor")
    conductor.start()
    code = daemon.run(signals=False)
    conductor.join(60)
    if failure or not result:
        print(f"the daemon ended with {code!r}: {daemon.core.why}; {failure}", file=sys.stderr)
        return 1
    for name, s in sources.items():
        unit = daemon.sources[f"source {name}"]
        p = daemon.pipelines[name].counts()
        result["end"][name] = {
            "leases": 0 if unit.slots is None else unit.slots.in_use,
            "slots taken back by force": 0 if unit.slots is None else unit.slots.generation,
            "frames": s.frames,
            "offered": p.offered,
            "results": sink.results[name],
            "dropped": p.dropped,
            "failed": p.failed,
            "missing by the driver's numbers": watches[name].missing,
            "missing as the pipeline says": p.lost,
            "left out by vivid": s.numbers.left_out,
            "lost for want of a buffer": s.numbers.lost,
        }
        print(name, result["end"][name])
    result["end"]["bytes admitted"] = daemon.budget.held
    result["exit"] = int(code)
    result["stood still s"] = stalls.total_s()
    stalls.close()
    print(f"the machine stood still for {result['stood still s']:.1f} s")
    write(result)
    return int(code is not ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
