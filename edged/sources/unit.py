"""The thread that owns a source: opens it, reads it into its slots, hands each frame to every pipeline.

A source that fails and has a `backoff` is closed and opened again when the supervisor says so; its pipelines
wait. Memory stays as long as what comes fits it. Which pipelines it serves may change while it runs: between two
frames their ways are bound, and those of pipelines that leave are kept until their last frame is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

from edged.errors import ConfigError, EdgedError, SourceError
from edged.frames import Frame, FrameSpec, Memory
from edged.freshness import Watch
from edged.interfaces import Device, EndOfStream, Source
from edged.memory import Slots
from edged.pipeline import Pipeline
from edged.sources.ways import Served, Way, Ways, find_ways, scratch
from edged.units import Demand, Plan, Report, Unit

POLL_S = 0.2  # how late a stop is noticed
LEASE_S = 4.0  # how long a source that was told to stop waits for frames that are still at work
REST_S = 1.0  # how long one that failed waits for them before it is opened again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What a source is to serve from now on. `ways`: those that are new, as admitted; `slots`: frames at once.

    `change`: the number of the change that wants to hear when it is so; 0: nobody does.
    """

    served: Served
    ways: tuple[Way, ...] = ()
    slots: int = 0
    change: int = 0


class SourceUnit(Unit):
    """Reads one source for all pipelines that share it. `served`: who takes the frames of each.

    `slots_wanted`: frames that exist at once at most.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        device: Device,
        served: Served,
        slots_wanted: int,
        post: Callable[[Report], None],
    ) -> None:
        super().__init__(name, post)
        self.source = source  # others read its facts, never more
        self.served = served
        self.slots_wanted = slots_wanted
        self._suited = self.pipelines  # those that what the source delivers now is for
        self.spec: FrameSpec | None = None  # what the source delivers, known once prepared
        self.slots: Slots | None = None  # of its region
        self.leased: Slots | None = (
            None  # those that frames are leases of: these, or some of the source's own
        )
        self._device = device
        self._slot_bytes = 0
        self._planned: FrameSpec | None = None  # what the ways below are for
        self._ways = Ways(partial(self.allocate, keep=True), self.forget)
        self._lock = threading.Lock()  # guards the three below
        self._next: Service | None = None  # what it is to serve, not yet taken up
        self._reading = False  # its thread takes it up between two frames
        self._over = False  # no frame comes any more
        self._owes = 0  # the change that is to hear that it serves what it was told to; 0: none

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        return tuple(self.served)

    @property
    def recovers(self) -> bool:
        return self.source.backoff is not None

    @property
    def grows(self) -> bool:
        """Whether it is opened again for more slots; a file that its readers pace would begin anew, and can wait."""
        return self.recovers or self.source.live

    def current(self) -> AbstractContextManager[None]:
        return self._device.current()

    def devices(self) -> Sequence[Device]:
        runners = {r.device for found in self.served.values() for r in found}
        return (self._device, *(runners - {self._device}))

    def device_of(self, owner: str) -> Device:
        """Slots are where the source was given; what a way needs is with its runner."""
        return self._ways.device_of(owner) or self._device

    def stop(self) -> None:
        """As of every unit; a source that may wait long for its camera in `open` gives up."""
        super().stop()
        interrupt = getattr(self.source, "interrupt", None)
        if interrupt is not None:
            interrupt()

    # In the main thread.

    def addition(self, served: Served, slots: int) -> tuple[Service, Demand]:
        """What it takes to serve these pipelines instead, and the memory that this wants besides what there is.

        ConfigError when what the source delivers now lacks a new pipeline's view. One that does not deliver now finds
        out when it does.
        """
        spec = self.spec
        if not self._reading or spec is None:
            return Service(served, slots=slots), {}
        new = {p: runners for p, runners in served.items() if p not in self.served}
        for pipeline in new:
            pipeline.view.check(self.name, spec)
        ways = tuple(find_ways(spec, new, taken=self._ways.owners | self.regions.keys()))
        demand = {w.owner: (w.runner.device, wants) for w in ways if (wants := w.preprocess.wants())}
        more = slots - len(self.slots or ())
        memory = self._slot_memory
        if self.grows and more > 0 and memory is not None and slots > self.slots_wanted:
            wants = Slots.wants(more, self._slot_bytes, memory)
            demand[f"{self.name}, more slots"] = self._device, wants
        return Service(served, ways, slots), demand

    def serve(self, service: Service) -> None:
        """Serve these pipelines from the next frame on; those left out are closed. "served" is reported once they have
        ended and nothing of them is held.
        """
        with self._lock:
            reading, over, replaced = self._reading, self._over, self._next
            # where nobody reads, what was planned for frames is found anew when somebody does
            self._next = service if reading else replace(service, change=0)
        known = () if replaced is None else replaced.served  # by none yet, and some never will be
        for pipeline in known if reading else (*self.served, *known):
            if over or pipeline not in service.served:
                pipeline.close()
        for pipeline in service.served if over else ():
            pipeline.close()
        if not reading:
            self._post(Report(self.name, "served", change=service.change))

    # The unit's steps, in its thread.

    def prepare(self) -> None:
        self._take_up()
        # of a source that may have memory of its own for the device
        attach = getattr(self.source, "attach", None)
        try:
            with self.calling("open"):
                if attach is not None:
                    attach(self._device, self.slots_wanted)
                self.spec = self.source.open()
        except SourceError:
            if not self.stopping:  # nobody waits for this camera any more
                raise
            return
        self._suited = self._find_suited(self.spec)

    def _take_up(self) -> None:
        """What it is to serve, if that has changed while no frame was about."""
        with self._lock:
            service, self._next = self._next, None
        if service is None:
            return
        self._owes = service.change or self._owes
        for pipeline in self.served:
            if pipeline not in service.served:
                pipeline.close()
        self.served, self._planned = service.served, None
        self.slots_wanted = max(self.slots_wanted, service.slots)

    def _find_suited(self, spec: FrameSpec) -> tuple[Pipeline, ...]:
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
            suited = {p: runners for p, runners in self.served.items() if p in self._suited}
            self._slot_bytes, self._ways.wanted = self._largest(spec), tuple(find_ways(spec, suited))
            self._planned = spec
        memory = self._slot_memory
        slots = Slots.wants(self.slots_wanted, self._slot_bytes, memory) if memory is not None else []
        return {self.name: slots, **scratch(self._ways.wanted)}

    @property
    def _slot_memory(self) -> Memory | None:
        """None: the source wants none, its frames are elsewhere."""
        memory: Memory | None = getattr(self.source, "slot_memory", self._device.frame_memory)
        return memory

    def _largest(self, spec: FrameSpec) -> int:
        """Bytes of a slot: a camera may come back with any size up to its `max_size`."""
        most = self.source.max_size if self.recovers else None
        if most is None:
            return spec.nbytes
        width, height = (n + n % 2 for n in most)
        return max(spec.nbytes, FrameSpec(width, height, spec.format).nbytes)

    def work(self) -> None:
        with self._lock:
            self._reading = True
        try:
            while self._delivered():  # until more slots are wanted than there are
                self._close_and_wait()
                self.free()
                self.prepare()
        finally:
            self.call = None
            with self._lock:
                self._reading = False
            self._take_up()
            self._say_served()

    def _delivered(self) -> bool:
        """Read until the end, or until it is to be opened again (True)."""
        assert self.spec is not None
        with self.calling("settle"):
            slots = self._settle()
        self._say_served()
        for pipeline in self._suited:
            pipeline.begin()
        # pictures from a folder and drawn ones may repeat themselves
        watched = self.source.live and not getattr(self.source, "stills", False)
        watch = Watch(self.spec) if watched else None
        with self.calling("start"):
            self.source.start(slots)
        self.leased = getattr(self.source, "frame_slots", None) or slots
        serving = list(self._suited)
        seq, said = 0, False
        while not self.stopping:
            if self._next is not None:
                if self._is_short(self._next):
                    return True
                serving = self._change(serving, seq)
            if self._ways.some_linger:
                self._let_ways_go()
            if not serving:
                return False
            if not self.source.live and all(p.lineage.paused for p in serving):
                self._stop.wait(POLL_S)  # a file waits; a camera goes on
                continue
            try:
                self.call = ("read", time.monotonic_ns())
                frame = self.source.read(POLL_S)
            except EndOfStream:
                return False
            self.call = None
            if frame is None:
                continue
            if not said:  # only a picture proves that a camera is back
                said = True
                self.say_running()
            if watch is not None:
                frame.tags = {**frame.tags, "look": watch.look(frame, time.monotonic_ns())}
            seq = frame.seq + 1
            serving = self._hand_over(frame, serving)
        return False

    def _is_short(self, service: Service) -> bool:
        return self.grows and service.slots > self.slots_wanted

    def _change(self, serving: list[Pipeline], seq: int) -> list[Pipeline]:
        """Serve other pipelines from the frame of number `seq` on; those that stay miss none."""
        with self._lock:
            service, self._next = self._next, None
        assert service is not None
        self._owes = service.change
        new = [p for p in service.served if p not in self.served]
        ways = tuple(w for w in service.ways if w.spec == self.spec)
        try:
            if len(ways) != sum(len(service.served[p]) for p in new):  # it was opened again meanwhile
                ways = self._find_missing(service.served, new)
            self._ways.change(service.served, ways)
        except EdgedError as e:  # though its memory was admitted; those that are served go on
            log.error("%s: %s", self.name, e)
            for pipeline in new:
                pipeline.refused = e
            new = []
            self._ways.change(service.served, ())
        for pipeline in self.served:
            if pipeline not in service.served:
                pipeline.close()
        self._suited = (*(p for p in self._suited if p in service.served), *new)
        self.served = service.served
        for pipeline in new:
            pipeline.begin(seq)
        self._let_ways_go()
        return [*(p for p in serving if p in service.served), *new]

    def _find_missing(self, served: Served, new: Sequence[Pipeline]) -> tuple[Way, ...]:
        assert self.spec is not None
        for pipeline in new:
            pipeline.view.check(self.name, self.spec)
        return tuple(
            find_ways(self.spec, {p: served[p] for p in new}, taken=self._ways.owners | self.regions.keys())
        )

    def _let_ways_go(self) -> None:
        """Those of pipelines that have left and ended; says so when none remains."""
        self._ways.drop_over()
        if not self._ways.some_linger:
            self._say_served()

    def _say_served(self) -> None:
        change, self._owes = self._owes, 0
        if change:
            self._post(Report(self.name, "served", change=change))

    def _settle(self) -> Slots:
        """The slots, with every way bound, before the first frame. What fits from before stays as it is."""
        plan = self.plan()
        misfits = [r for o, r in self.regions.items() if r.is_open and r.wants != tuple(plan.get(o, ()))]
        late = 0 if self.slots is None else self.slots.late
        if misfits and late:
            raise SourceError(
                f"{self.name}: {late} frames of before are still being read, in memory that does not fit",
                hint="a runner hangs, or is slow; see the lines about it",
            )
        self._ways.drop_others()
        for region in misfits:
            region.close()
        fresh = self.allocate(plan)
        self._ways.bind(fresh)
        if self.slots is None or self.name in fresh:
            self.slots = Slots.of(fresh[self.name], len(plan[self.name]))
        for region in fresh.values():
            region.freeze()
        return self.slots

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

    def _close_and_wait(self) -> None:
        """Till nobody reads its memory: there is time, as nothing has failed here."""
        with self.calling("close"):
            self.source.close()
        leased = self.leased
        assert leased is not None
        if not leased.wait_all_free(REST_S):
            for pipeline in self.pipelines:
                pipeline.mailbox.drain()
            self._await_leases(leased)
        self._let_memory_go()

    def renew(self) -> None:
        """Memory that a runner may still read stays for this try, too."""
        if self.slots is None or not self.slots.late:
            self.free()

    def let_go(self) -> None:
        """Close the source, and see that nobody reads its memory any more, or no longer than REST_S."""
        try:
            with self.calling("close"):
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
        with self.calling("close"):
            self.source.close()

    def _take_back(self, leased: Slots) -> None:
        """What a runner still holds is of a generation that is over. A source's own memory waits for it instead."""
        if leased is self.slots:
            leased.reset()

    def release(self) -> None:
        """Let the pipelines end, close the source, and free the memory when nobody reads it any more."""
        with self._lock:
            self._over = True
        self._take_up()
        failed = self.error is not None and not self.recovers
        for pipeline in self.pipelines:
            pipeline.close("faulted" if failed else "ended")
        with ExitStack() as stack:
            stack.callback(self.free)
            stack.callback(self._ways.unbind_all)
            stack.callback(self._let_memory_go)
            if self.leased is not None:
                stack.callback(self._await_leases, self.leased)
            with self.calling("close"):
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
