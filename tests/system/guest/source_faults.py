"""Fault rounds on the source alone: a loop that closes, waits, opens and starts again into the same slots."""

from __future__ import annotations

import random
import threading

import msgspec
import numpy as np

from edged.errors import SourceError
from edged.frames import U8, Frame
from edged.memory import Region, Slots
from edged.sources._v4l2_copies import DRIVER_BUFFERS
from edged.sources._v4l2_options import V4l2Options
from edged.sources.v4l2 import V4l2Source
from tests.system.guest import vivid
from tests.system.guest.held import held
from tests.system.guest.numbers import Numbers
from tests.system.guest.report import write
from tests.system.guest.rounds import Watch
from tests.system.guest.session import play_all
from tests.system.guest.stalls import Stalls

SLOTS, POLL_S = 5, 0.2
SIZE, RATE = [320, 180], 15
CAMERAS = {"/dev/video0": "userptr", "/dev/video1": "mmap", "/dev/video2": "bystander"}


class Loop(threading.Thread):
    """Reads one camera for ever. Each picture is compared, byte for byte, with the first, and wiped after."""

    def __init__(self, watch: Watch, stalls: Stalls) -> None:
        super().__init__(name=f"loop {watch.device}")
        calm = watch.memory == "bystander"
        options = {
            "device": watch.device,
            "size": SIZE,
            "rate": RATE,
            "format": "YUYV",
            "memory": "userptr" if calm else watch.memory,
            "controls": {"osd_text_mode": "None", "timestamp_source": "Start of Exposure"},
        }
        self.watch = watch
        self.source = watch.source = V4l2Source(watch.memory, msgspec.convert(options, V4l2Options))
        self.slots: Slots | None = None
        self.ended = threading.Event()
        self.numbers = Numbers(min(SLOTS, DRIVER_BUFFERS), stalls.stood)
        self._first: U8 | None = None

    def run(self) -> None:
        failures = 0
        while not self.ended.is_set():
            try:
                spec = self.source.open()
                if self.slots is None:
                    region = Region(self.name, Slots.wants(SLOTS, spec.nbytes))
                    self.slots = Slots.of(region, SLOTS)
                    region.freeze()
                self.source.start(self.slots)
                while not self.ended.is_set():
                    frame = self.source.read(POLL_S)
                    if frame is not None:
                        failures = 0
                        self._look(frame)
            except SourceError as e:
                self.source.close()
                if self.slots is not None and self.slots.in_use:
                    self.watch.defect(f"{self.slots.in_use} leases after close: {e.message}")
                self.watch.fault(e.message)
                failures += 1
                self.ended.wait(self.source.backoff.delay_s(failures, random.random()))
            except Exception as e:
                self.watch.defect(f"the loop died: {e!r}")
                raise
        self.source.close()

    def _look(self, frame: Frame) -> None:
        picture = frame.planes[0]
        missing = self.numbers.step(frame, self.source.lost)
        torn = "torn" in frame.tags
        if self._first is None:
            self._first = picture.copy()
        elif not torn and not np.array_equal(picture, self._first):
            self.watch.defect(f"picture {frame.seq} is not what the camera shows")
        picture[...] = 1
        captured_ns = frame.captured_mono_ns
        frame.release()
        self.watch.picture(not torn, captured_ns, missing)


def main() -> None:
    stalls = Stalls()
    vivid.load(*(vivid.Kind() for _ in CAMERAS))
    watches = {memory: Watch(device, memory) for device, memory in CAMERAS.items()}
    loops = {memory: Loop(w, stalls) for memory, w in watches.items()}
    for loop in loops.values():
        loop.start()

    def others_lost() -> list[str]:
        numbers, w = loops["bystander"].numbers, watches["bystander"]
        return ([f"{numbers.lost} pictures"] if numbers.lost else []) + [text for _, text in w.faults]

    def defects(memory: str) -> list[str]:
        return watches[memory].defects + loops[memory].numbers.defects

    result = play_all(watches, held, others_lost, defects)
    for loop in loops.values():
        loop.ended.set()
    for memory, loop in loops.items():
        loop.join(10)
        assert not loop.is_alive(), loop.name
        assert loop.slots is not None
        left = {"leases": loop.slots.in_use, "left out by vivid": loop.numbers.left_out}
        result["end"][memory] = {**left, "lost for want of a buffer": loop.numbers.lost}
    result["stood still s"] = stalls.total_s()
    stalls.close()
    print(result["end"], f"the machine stood still for {result['stood still s']:.1f} s")
    write(result)


if __name__ == "__main__":
    main()
