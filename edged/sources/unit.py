"""The thread that owns a source: opens it, reads it into its slots, hands each frame to every pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from edged.errors import SourceError
from edged.frames import Frame, FrameSpec
from edged.freshness import Watch
from edged.interfaces import Device, EndOfStream, Source
from edged.memory import Slots, Want
from edged.pipeline import Pipeline
from edged.units import Report, Unit

POLL_S = 0.2  # how late a stop is noticed
LEASE_S = 4.0  # how long a source that was told to stop waits for frames that are still at work


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
        self.pipelines = tuple(pipelines)
        self.spec: FrameSpec | None = None  # known once prepared
        self.slots: Slots | None = None
        self._source = source
        self._device = device
        self._slots_wanted = slots_wanted

    def plan(self) -> Sequence[Want]:
        """What the unit will allocate; after "prepared"."""
        assert self.spec is not None
        return Slots.wants(self._slots_wanted, self.spec.nbytes)

    def stop(self) -> None:
        """As of every unit; a source that may wait long for its camera in `open` gives up."""
        super().stop()
        interrupt = getattr(self._source, "interrupt", None)
        if interrupt is not None:
            interrupt()

    def prepare(self) -> None:
        try:
            self.spec = self._source.open()
        except SourceError:
            if not self.stopping:  # nobody waits for this camera any more
                raise

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
        for pipeline in self.pipelines:
            pipeline.begin()
        serving = list(self.pipelines)
        with suppress(EndOfStream):
            while serving and not self.stopping:
                frame = self._source.read(POLL_S)
                if frame is not None:
                    if watch is not None:
                        frame.tags = {**frame.tags, "look": watch.look(frame, time.monotonic_ns())}
                    serving = self._hand_over(frame, serving)

    def _hand_over(self, frame: Frame, serving: list[Pipeline]) -> list[Pipeline]:
        """Give the frame to each pipeline; returns those that still take frames."""
        still = []
        for pipeline in serving:
            frame.retain()
            if self._offer(pipeline, frame):
                still.append(pipeline)
            else:
                frame.release()
        frame.release()
        return still

    def _offer(self, pipeline: Pipeline, frame: Frame) -> bool:
        """False when the pipeline takes no more frames, or the unit is to stop."""
        while not pipeline.offer(frame, POLL_S):
            if self.stopping or pipeline.mailbox.closed:
                return False
        return True

    def release(self) -> None:
        """Let the pipelines end, close the source, and free the memory when nobody reads it any more."""
        for pipeline in self.pipelines:
            pipeline.close("ended" if self.error is None else "faulted")
        with ExitStack() as stack:
            if self.region is not None:
                stack.callback(self.region.close)
            if self.slots is not None:
                stack.callback(self._await_leases, self.slots)
            self._source.close()

    def _await_leases(self, slots: Slots) -> None:
        while not self.stopping:  # the input is at its end; a slow model takes the time that it takes
            if slots.wait_all_free(POLL_S):
                return
        if not slots.wait_all_free(LEASE_S):
            held = slots.in_use
            slots.reset()  # a late release finds nothing
            raise SourceError(
                f"{self.name}: {held} frames were not given back within {LEASE_S:g} s",
                hint="a runner hangs; see the lines about it",
            )
