"""Which rung a camera gets: tried at open where that decides what memory is wanted, and remembered when it comes back.

    open: try each rung with a few buffers and one picture, until one passes its canary    (`choose`)
    start: stand on it, or on the next one that wants the same memory                        (`start`)
    first pictures: the canary once more, on the buffers that are used from now on           (`distrust` if it fails)

A rung that fails late costs a fault of the source: it is opened again, without that rung.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edged.errors import MemoryRefused, SourceError
from edged.frames import Memory
from edged.interfaces import Device
from edged.memory import Slots
from edged.sources._v4l2_canary import PICTURES
from edged.sources._v4l2_device import Device as Camera
from edged.sources._v4l2_negotiate import Agreed
from edged.sources._v4l2_queue import Refused
from edged.sources._v4l2_rungs import Place, Rung, Standing, fall, ladder, stand

TRIAL_BUFFERS = 4  # drivers want up to three
POLL_S = 0.2  # how late a wish to stop is noticed

Tell = Callable[[str, str], None]


class Ladder:
    """One source's, for all its life: it remembers what a camera could and could not. Used by the source's thread.

    `wanted`: `memory` of the configuration. `tell`: facts for the snapshot, by key. `rung`: the one that was chosen.
    """

    def __init__(self, owner: str, wanted: str, tell: Tell) -> None:
        self._owner, self._wanted, self._tell = owner, wanted, tell
        self.device: Device | None = None  # the readers'
        self.frames = 0  # that exist at once at most; 0: as many as there are slots
        self.rung: Rung | None = None
        self._rungs: tuple[Rung, ...] = ()
        self._key: object = None  # what was agreed when the following was found out
        self._proven: str | None = None
        self._refused: dict[str, str] = {}  # name of a rung -> why, in this open
        self._distrusted: dict[str, str] = {}  # those that failed once they were used
        self._left: list[Standing] = []

    @property
    def memory(self) -> Memory:
        return Memory.HOST if self.device is None else self.device.frame_memory

    def choose(self, camera: Camera, agreed: Agreed, patience_s: float, stopping: Callable[[], bool]) -> None:
        """Find the rung, streaming for a moment where rungs want different memory. Raises SourceError."""
        self.sweep()
        self._rungs = self._allowed(camera, agreed)
        key = (agreed.identity, agreed.layout, agreed.spec, agreed.image_bytes, agreed.pitches)
        if key != self._key:
            self._key, self._proven, self._distrusted = key, None, {}
        if self._proven is None:
            self._refused = dict(self._distrusted)
        self.rung = self._first(camera, agreed, patience_s, stopping)
        self._say_refused()

    def _allowed(self, camera: Camera, agreed: Agreed) -> tuple[Rung, ...]:
        """Those that the configuration leaves."""
        every = ladder(self.memory, jpeg=agreed.layout.jpeg)
        if self._wanted == "auto":
            return every
        found = tuple(r for r in every if self._wanted == r.name or self._wanted in r.words)
        if not found:
            where = "of format MJPG" if agreed.layout.jpeg else f"where runtime.device is '{self._on}'"
            raise camera.fail(
                f"has memory = '{self._wanted}', which is not for {camera.path} {where}",
                f"set memory to 'auto' or one of {', '.join(r.name for r in every)}",
            )
        return found

    @property
    def _on(self) -> str:
        return "cpu" if self.device is None else self.device.name

    def _first(self, camera: Camera, agreed: Agreed, patience_s: float, stopping: Callable[[], bool]) -> Rung:
        if len({r.slots for r in self._rungs}) == 1:  # whichever it will be, the memory is the same
            left = [r for r in self._rungs if r.name not in self._refused]
            if not left:
                raise self._none(camera)
            return left[0]
        for rung in self._rungs:
            if rung.name == self._proven:
                return rung
            if rung.name in self._refused:
                continue
            try:
                if rung.proven:
                    self._try(rung, camera, agreed, time.monotonic() + patience_s, stopping)
                    self._proven = rung.name
                return rung
            except Refused as e:
                self._refused[rung.name] = str(e)
        raise self._none(camera)

    def _try(
        self, rung: Rung, camera: Camera, agreed: Agreed, deadline: float, stopping: Callable[[], bool]
    ) -> None:
        """Stand on it for one picture, with memory of its own. Raises Refused, or SourceError: the camera's fault."""
        assert self.device is not None
        wants = Slots.wants(TRIAL_BUFFERS, agreed.spec.nbytes, rung.slots) if rung.slots else []
        try:
            region = self.device.region(f"{self._owner}: trial of {rung.name}", wants)
        except MemoryRefused as e:
            raise Refused(e.message.splitlines()[0]) from e
        try:
            slots = Slots.of(region, len(wants))
            place = Place(camera, agreed, self.device, TRIAL_BUFFERS, [])
            standing = stand(rung, place, slots, pictures=1)
            try:
                self._one_picture(standing, camera, deadline, stopping)
            finally:
                fall(standing)
        finally:
            region.close()

    def _one_picture(
        self, standing: Standing, camera: Camera, deadline: float, stopping: Callable[[], bool]
    ) -> None:
        queue, canary = standing.queue, standing.canary
        assert canary is not None
        while canary.left:
            now = time.monotonic()
            if stopping() or now >= deadline:
                raise camera.fail(
                    f"got no whole picture from {camera.path} to try memory '{standing.rung.name}' with",
                    "check the cable; a camera that waits for a trigger or for light: set memory = 'copy'",
                )
            queue.replenish()
            if not queue.dequeue(min(deadline, now + POLL_S)):
                continue
            lease = queue.acquire()
            assert lease is not None
            try:
                if not queue.torn:
                    canary.check(lease.index)
            finally:
                lease.release()

    def start(self, camera: Camera, agreed: Agreed, given: Slots) -> Standing:
        """Stream into `given`, or into what the rung has instead. Raises SourceError."""
        rung = self.rung
        assert rung is not None
        self.sweep()
        place = Place(camera, agreed, self.device, self.frames or len(given), self._left)
        for other in self._rungs[self._rungs.index(rung) :]:
            if other.slots is not rung.slots or other.name in self._refused:
                continue
            try:
                standing = stand(other, place, given, PICTURES)
            except Refused as e:
                self._refused[other.name] = str(e)
                self._say_refused()
                continue
            self.rung = other
            self._tell("memory", standing.fact)
            return standing
        self._proven = None  # the next open looks at all of them again
        raise self._none(camera)

    def distrust(self, camera: Camera, rung: Rung, why: str) -> SourceError:
        """The fault of a source whose rung failed while it was used: the next open passes it over."""
        self._proven = None
        self._distrusted[rung.name] = self._refused[rung.name] = why
        self._say_refused()
        return camera.fail(
            f"cannot use memory '{rung.name}' of {camera.path}: {why}",
            "it is opened again without; memory = 'copy' always works",
        )

    def leave(self, standing: Standing) -> None:
        """Its camera is closed. What readers have frames of is undone by a later `sweep`."""
        if not standing.leave():
            self._left.append(standing)

    def sweep(self) -> None:
        """Undo what readers have let go of meanwhile."""
        self._left = [s for s in self._left if not s.leave()]

    def _say_refused(self) -> None:
        for name, why in self._refused.items():
            self._tell(f"no {name}", why)

    def _none(self, camera: Camera) -> SourceError:
        """No rung is left: only where the configuration rules out the copy."""
        whys = "; ".join(f"{n}: {w}" for n, w in self._refused.items())
        return camera.fail(
            f"has memory = '{self._wanted}', which cannot be with {camera.path}: {whys}",
            "set memory = 'auto' or 'copy'",
        )
