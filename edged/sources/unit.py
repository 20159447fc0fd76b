"""The thread that owns a source: opens it, reads it into its slots, hands each frame to every pipeline."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from edged.errors import SourceError
from edged.frames import Frame, FrameSpec
from edged.freshness import Watch
from edged.interfaces import Device, EndOfStream, Source
from edged.memory import Region, Slots, Want
from edged.pipeline import Pipeline
from edged.units import Report, Unit

POLL_S = 0.2  # how late a stop is noticed
LEASE_S = 3.0  # how long a source waits at its end for frames that are still at work

log = logging.getLogger(__name__)


class SourceUnit(Unit):
    """Reads one source for all pipelines that share it. `slots_wanted`: frames that exist at once at most."""

    def __init__(
        self,
        name: str,
        source: Source,
        device: Device,
        pipelines: Sequence[Pipeline],
        slots_wanted: int,
        post: Callable[[Report], None],
    ) -> None:
        super().__init__(name, post)
        self.spec: FrameSpec | None = None  # known once prepared
        self.region: Region | None = None
        self.slots: Slots | None = None
        self._source = source
        self._device = device
        self.pipelines = tuple(pipelines)
        self._slots_wanted = slots_wanted

    def plan(self) -> Sequence[Want]:
        """What the unit will allocate; after "prepared"."""
        assert self.spec is not None
        return Slots.wants(self._slots_wanted, self.spec.nbytes)

    def prepare(self) -> None:
        self.spec = self._source.open()

    def work(self) -> None:
        assert self.spec is not None
        self.region = self._device.region(self.name, self.plan())
        self.slots = Slots.of(self.region, self._slots_wanted)
        self.region.freeze()
        for pipeline in self.pipelines:
            pipeline.reset()
        # pictures from a folder and drawn ones may repeat themselves
        watched = self._source.live and not getattr(self._source, "stills", False)
        watch = Watch(self.spec) if watched else None
        self._source.start(self.slots)
        serving = list(self.pipelines)
        try:
            while serving and not self.stopping:
                frame = self._source.read(POLL_S)
                if frame is not None:
                    if watch is not None:
                        frame.tags = {**frame.tags, "look": watch.look(frame, time.monotonic_ns())}
                    serving = self._hand_over(frame, serving)
        except EndOfStream:
            return
        finally:
            for pipeline in serving:
                pipeline.mailbox.close()

    def _hand_over(self, frame: Frame, serving: list[Pipeline]) -> list[Pipeline]:
        """Give the frame to each pipeline; returns those that still take frames."""
        still = []
        for pipeline in serving:
            frame.retain()
            if self._put(pipeline, frame):
                still.append(pipeline)
            else:
                frame.release()
        frame.release()
        return still

    def _put(self, pipeline: Pipeline, frame: Frame) -> bool:
        while not pipeline.mailbox.put(frame, POLL_S):
            if self.stopping or pipeline.mailbox.closed:
                return False
        return True

    def release(self) -> None:
        try:
            self._source.close()
            if self.slots is not None and not self.slots.wait_all_free(LEASE_S):
                raise SourceError(
                    f"{self.name}: {self.slots.in_use} frames were not given back within {LEASE_S:g} s",
                    hint="a runner hangs; see the lines about it",
                )
        finally:
            if self.region is not None:
                self.region.close()
