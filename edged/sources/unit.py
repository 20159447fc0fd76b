"""The thread that owns a source: opens it, reads it into its slots, hands each frame to every pipeline.

A source that fails and has a `backoff` is closed and opened again when the supervisor says so; its pipelines
wait. Memory stays as long as what comes fits it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass

from edged.errors import ConfigError, SourceError
from edged.frames import Frame, FrameSpec, Memory
from edged.freshness import Watch
from edged.interfaces import Device, EndOfStream, Preprocess, Source
from edged.memory import Region, Slots
from edged.pipeline import Pipeline
from edged.runner import Runner
from edged.units import Plan, Report, Unit

POLL_S = 0.2  # how late a stop is noticed
LEASE_S = 4.0  # how long a source that was told to stop waits for frames that are still at work
REST_S = 1.0  # how long one that failed waits for them before it is opened again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """How frames of one pipeline get into one runner; `owner` names its scratch memory."""

    owner: str
    pipeline: Pipeline
    runner: Runner
    preprocess: Preprocess


class SourceUnit(Unit):
    """Reads one source for all pipelines that share it. `runners`: who takes the frames of each.

    `slots_wanted`: frames that exist at once at most.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        device: Device,
        runners: Mapping[Pipeline, Sequence[Runner]],
        slots_wanted: int,
        post: Callable[[Report], None],
    ) -> None:
        super().__init__(name, post)
        self.source = source  # others read its facts, never more
        self.pipelines = tuple(runners)
        self._served = self.pipelines  # those that what the source delivers now is for
        self.spec: FrameSpec | None = None  # what the source delivers, known once prepared
        self.slots: Slots | None = None  # of its region
        self.leased: Slots | None = (
            None  # those that frames are leases of: these, or some of the source's own
        )
        self._device = device
        self._runners = runners
        self._slots_wanted = slots_wanted
        self._slot_bytes = 0
        self._planned: FrameSpec | None = None  # what the ways below are for
        self._ways: tuple[Way, ...] = ()
        self._bound: tuple[Way, ...] = ()  # those whose memory is there

    @property
    def recovers(self) -> bool:
        return self.source.backoff is not None

    def current(self) -> AbstractContextManager[None]:
        return self._device.current()

    def devices(self) -> Sequence[Device]:
        runners = {r.device for found in self._runners.values() for r in found}
        return (self._device, *(runners - {self._device}))

    def device_of(self, owner: str) -> Device:
        """Slots are where the source was given; what a way needs is with its runner."""
        return next((w.runner.device for w in self._ways if w.owner == owner), self._device)

    def stop(self) -> None:
        """As of every unit; a source that may wait long for its camera in `open` gives up."""
        super().stop()
        interrupt = getattr(self.source, "interrupt", None)
        if interrupt is not None:
            interrupt()

    def prepare(self) -> None:
        attach = getattr(
            self.source, "attach", None
        )  # of a source that may have memory of its own for the device
        if attach is not None:
            attach(self._device, self._slots_wanted)
        try:
            self.spec = self.source.open()
        except SourceError:
            if not self.stopping:  # nobody waits for this camera any more
                raise
            return
        self._served = self._suited(self.spec)

    def _suited(self, spec: FrameSpec) -> tuple[Pipeline, ...]:
        """The pipelines whose view such pictures have; the others are refused, and told.

        Raises when there is none, and of a source that is opened only once when one is refused: it cannot change.
        """
        refused = {}
        for pipeline in self.pipelines:
            try:
                pipeline.view.check(self.name, spec)
            except ConfigError as e:
                refused[pipeline] = e
        before = {pipeline: pipeline.refused for pipeline in self.pipelines}
        for pipeline in self.pipelines:
            pipeline.refused = refused.get(pipeline)
        suited = tuple(p for p in self.pipelines if p not in refused)
        if refused and not (suited and self.recovers):
            raise next(iter(refused.values()))
        for pipeline, error in refused.items():
            if str(error) != str(before[pipeline]):  # a camera that comes and goes says it once
                log.error("%s", error)
        return suited

    def plan(self) -> Plan:
        """Slots, and for each pipeline the scratch memory of its way into each of its runners."""
        spec = self.spec
        assert spec is not None
        if spec != self._planned:
            self._slot_bytes, self._ways = self._largest(spec), tuple(self._find_ways(spec))
            self._planned = spec
        scratch = {w.owner: wants for w in self._ways if (wants := w.preprocess.wants())}
        memory: Memory | None = getattr(self.source, "slot_memory", self._device.frame_memory)
        slots = Slots.wants(self._slots_wanted, self._slot_bytes, memory) if memory is not None else []
        return {self.name: slots, **scratch}

    def _largest(self, spec: FrameSpec) -> int:
        """Bytes of a slot: a camera may come back with any size up to its `max_size`."""
        most = self.source.max_size if self.recovers else None
        if most is None:
            return spec.nbytes
        width, height = (n + n % 2 for n in most)
        return max(spec.nbytes, FrameSpec(width, height, spec.format).nbytes)

    def _find_ways(self, spec: FrameSpec) -> list[Way]:
        ways = []
        for pipeline in self._served:
            for runner in self._runners[pipeline]:
                owner = f"pipeline {pipeline.name} on {runner.name}"
                with runner.device.current():
                    ways.append(Way(owner, pipeline, runner, runner.preprocessor(owner, spec, pipeline.view)))
        return ways

    def work(self) -> None:
        assert self.spec is not None
        slots = self._settle()
        for pipeline in self._served:
            pipeline.begin()
        # pictures from a folder and drawn ones may repeat themselves
        watched = self.source.live and not getattr(self.source, "stills", False)
        watch = Watch(self.spec) if watched else None
        self.source.start(slots)
        self.leased = getattr(self.source, "frame_slots", None) or slots
        serving = list(self._served)
        said = False
        with suppress(EndOfStream):
            while serving and not self.stopping:
                frame = self.source.read(POLL_S)
                if frame is None:
                    continue
                if not said:  # only a picture proves that a camera is back
                    said = True
                    self.say_running()
                if watch is not None:
                    frame.tags = {**frame.tags, "look": watch.look(frame, time.monotonic_ns())}
                serving = self._hand_over(frame, serving)

    def _settle(self) -> Slots:
        """The slots, with every way bound. What fits from before stays as it is."""
        plan = self.plan()
        kept = {(w.pipeline, w.runner) for w in self._ways}
        for way in self._bound:
            if (way.pipeline, way.runner) not in kept:
                way.runner.unfit(way.pipeline)  # before its memory goes
        for owner, region in self.regions.items():
            other_way = owner != self.name and self._bound is not self._ways
            if other_way or region.wants != tuple(plan.get(owner, ())):
                region.close()
        fresh = self.allocate(plan)
        if self._bound is not self._ways or fresh:
            for way in self._ways:
                if way.owner in fresh:
                    self._bind(way, fresh[way.owner])
                way.runner.fit(way.pipeline, way.preprocess)
            self._bound = self._ways
        if self.slots is None or self.name in fresh:
            self.slots = Slots.of(fresh[self.name], len(plan[self.name]))
        for region in fresh.values():
            region.freeze()
        return self.slots

    def _bind(self, way: Way, region: Region) -> None:
        with way.runner.device.current():
            way.preprocess.bind(region)

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

    def let_go(self) -> None:
        """Close the source, and see that nobody reads its memory any more."""
        try:
            self.source.close()
        finally:
            if self.leased is not None and not self.leased.wait_all_free(REST_S):
                for pipeline in self.pipelines:
                    pipeline.mailbox.drain()
                self._take_back(self.leased)
            self._let_memory_go()

    def _let_memory_go(self) -> None:
        """Once readers are done: a source with memory of its own undoes what it kept for them."""
        self.leased = self.slots
        self.source.close()

    def _take_back(self, leased: Slots) -> None:
        """What a runner still holds is of a generation that is over. A source's own memory waits for it instead."""
        if leased is self.slots:
            leased.reset()

    def release(self) -> None:
        """Let the pipelines end, close the source, and free the memory when nobody reads it any more."""
        failed = self.error is not None and not self.recovers
        for pipeline in self.pipelines:
            pipeline.close("faulted" if failed else "ended")
        with ExitStack() as stack:
            stack.callback(self.free)
            stack.callback(self._let_memory_go)
            if self.leased is not None:
                stack.callback(self._await_leases, self.leased)
            self.source.close()

    def _await_leases(self, slots: Slots) -> None:
        while not self.stopping:  # the input is at its end; a slow model takes the time that it takes
            if slots.wait_all_free(POLL_S):
                return
        if not slots.wait_all_free(LEASE_S):
            held = slots.in_use
            self._take_back(slots)  # a late release finds nothing
            raise SourceError(
                f"{self.name}: {held} frames were not given back within {LEASE_S:g} s",
                hint="a runner hangs; see the lines about it",
            )
